"""Semantic IDs that no two items share, at the least cost in distance."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist


def distinct_codes(
    codes: NDArray[np.int64], residuals: NDArray[np.floating], codebook: NDArray[np.floating], kinds: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Give items whose nearest codes agree at every level last codes of their own.

    Of the items with equal codes up to the last level each gets another last code, by linear assignment: the sum of
    their squared distances is as small as it can be. Items of one kind stay together, as nothing tells them apart; so
    do those of a prefix with more kinds than the codebook has codes. The authors of LC-Rec (Zheng et al., ICDE 2024)
    part such items by a balanced assignment.

    Args:
        codes: (n, Q), the nearest of each level.
        residuals: (n, d), what the last level quantizes.
        codebook: (K, d) of the last level.
        kinds: (n,), equal where embeddings are equal.

    Returns:
        (n, Q), which differ from `codes` in the last column only.
    """
    _, first, kind = np.unique(kinds, return_index=True, return_inverse=True)  # (u,) rows, (n,) among them
    last = codes[first, -1]  # (u,)
    _, prefix, sizes = np.unique(codes[first, :-1], axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(prefix.ravel(), kind="stable")
    for group in np.split(order, np.cumsum(sizes)[:-1]):
        if len(np.unique(last[group])) < len(group) <= len(codebook):
            rows, chosen = linear_sum_assignment(cdist(residuals[first[group]], codebook, "sqeuclidean"))
            last[group[rows]] = chosen
    return np.column_stack([codes[:, :-1], last[kind]])
