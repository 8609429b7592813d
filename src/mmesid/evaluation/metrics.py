"""Ranking metrics of leave-one-out evaluation: one target per user, so each metric is a function of its rank."""

import numpy as np
from numpy.typing import NDArray

CUTOFFS = (5, 10, 20)
NAMES = (*(f"ndcg_at_{k}" for k in CUTOFFS), *(f"hr_at_{k}" for k in CUTOFFS), "mrr")


def per_user(ranks: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Metrics of each user from the rank r of the one target.

    nDCG@k = 1 / log2(1 + r) if r <= k else 0 (the ideal DCG is 1), HR@k = 1 if r <= k else 0, MRR = 1 / r.

    Args:
        ranks: (B,), 1 is best.

    Returns:
        Each metric of NAMES, (B,), in [0, 1].

    Raises:
        ValueError: a rank is below 1.
    """
    if len(ranks) and ranks.min() < 1:
        raise ValueError(f"ranks start at 1, the lowest is {ranks.min()}")
    gain = 1.0 / np.log2(1.0 + ranks)
    values = {f"ndcg_at_{k}": np.where(ranks <= k, gain, 0.0) for k in CUTOFFS}
    values |= {f"hr_at_{k}": (ranks <= k).astype(np.float64) for k in CUTOFFS}
    return values | {"mrr": 1.0 / ranks}


def summarize(ranks: NDArray[np.int64]) -> dict[str, float]:
    """Mean over users of every metric.

    Args:
        ranks: (B,), 1 is best.

    Raises:
        ValueError: there are no users, or a rank is below 1.
    """
    if not len(ranks):
        raise ValueError("no user to average over")
    return {name: float(values.mean()) for name, values in per_user(ranks).items()}
