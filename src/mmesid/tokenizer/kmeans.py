"""Centres that a codebook starts from."""

import torch
from torch import Tensor


def kmeans_centres(points: Tensor, centres: int, seed: int) -> Tensor:
    """Centres of plain k-means with k-means++ seeding. The authors' released code uses constrained k-means.

    Where fewer than `centres` points differ, each of them is a centre and the rest repeat them: revival moves those.

    Args:
        points: (n, d), n at least 1.
        centres: K.
        seed: of the seeding.

    Returns:
        (K, d), on the points' device.
    """
    distinct: Tensor = torch.unique(points.detach().cpu(), dim=0)
    if len(distinct) <= centres:
        found = distinct[torch.arange(centres) % len(distinct)]
    else:
        from sklearn.cluster import KMeans

        kmeans = KMeans(centres, n_init=1, max_iter=50, random_state=seed)
        found = torch.tensor(kmeans.fit(points.detach().cpu().numpy()).cluster_centers_)
    return found.to(device=points.device, dtype=points.dtype)
