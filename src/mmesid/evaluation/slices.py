"""nDCG@10 on slices of the users: by how popular the target is, by how long the history is."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmesid.evaluation.metrics import ndcg

CUTOFF = 10  # of the nDCG


def slices(
    ranks_by_model: Mapping[str, NDArray[np.int64]], values: NDArray[np.integer], lower_bounds: Sequence[int]
) -> list[dict[str, Any]]:
    """Mean nDCG@10 of each model in each bucket of users.

    Args:
        ranks_by_model: (B,) ranks of each model, 1 is best.
        values: (B,), what the users are divided by.
        lower_bounds: of the buckets; the last one has no upper bound. Users below the first bound are left out.

    Returns:
        For each bucket that holds a user, in ascending order: `bucket` ("5-19", "7", "100+"), `users`, and the mean
        under each model's name.
    """
    bounds = sorted(set(lower_bounds))
    bucket_of = np.searchsorted(bounds, values, side="right") - 1  # (B,), -1 below the first bound
    gains = {model: ndcg(ranks, CUTOFF) for model, ranks in ranks_by_model.items()}
    table = []
    for bucket, low in enumerate(bounds):
        inside = bucket_of == bucket
        if inside.any():
            means = {model: float(gain[inside].mean()) for model, gain in gains.items()}
            table.append({"bucket": _name(low, bounds[bucket + 1 :]), "users": int(inside.sum()), **means})
    return table


def _name(low: int, higher: Sequence[int]) -> str:
    if not higher:
        return f"{low}+"
    return str(low) if higher[0] == low + 1 else f"{low}-{higher[0] - 1}"
