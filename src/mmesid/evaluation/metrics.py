"""Ranking metrics of leave-one-out evaluation: one target per user, so each metric is a function of its rank."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Ranks = NDArray[np.int64]  # (B,), 1 is best
Values = NDArray[np.float64]  # (B,), in [0, 1]


def ndcg(ranks: Ranks, k: int) -> Values:
    """nDCG@k = 1 / log2(1 + r) if r <= k else 0: the ideal DCG of a single target is 1."""
    return np.where(ranks <= k, 1.0 / np.log2(1.0 + ranks), 0.0)


def hit_rate(ranks: Ranks, k: int) -> Values:
    """HR@k = 1 if r <= k else 0."""
    return (ranks <= k).astype(np.float64)


def reciprocal_rank(ranks: Ranks) -> Values:
    """1 / r, whose mean is MRR."""
    return np.asarray(1.0 / ranks)


AT_CUTOFF: dict[str, Callable[[Ranks, int], Values]] = {"ndcg": ndcg, "hr": hit_rate}
WHOLE_RANKING: dict[str, Callable[[Ranks], Values]] = {"mrr": reciprocal_rank}


def per_user(ranks: Ranks, names: Sequence[str]) -> dict[str, Values]:
    """Metrics of each user from the rank of the one target.

    Args:
        ranks: (B,), 1 is best.
        names: like `ndcg_at_10` and `mrr`.

    Returns:
        Each metric, (B,), in [0, 1].

    Raises:
        ValueError: a rank is below 1.
    """
    if len(ranks) and ranks.min() < 1:
        raise ValueError(f"ranks start at 1, the lowest is {ranks.min()}")
    values = {}
    for name in names:
        kind, _, cutoff = name.partition("_at_")
        values[name] = AT_CUTOFF[kind](ranks, int(cutoff)) if cutoff else WHOLE_RANKING[kind](ranks)
    return values


def summarize(ranks: Ranks, names: Sequence[str]) -> dict[str, float]:
    """Mean over users of every metric.

    Args:
        ranks: (B,), 1 is best.
        names: like `ndcg_at_10` and `mrr`.

    Raises:
        ValueError: there are no users, or a rank is below 1.
    """
    if not len(ranks):
        raise ValueError("no user to average over")
    return {name: float(values.mean()) for name, values in per_user(ranks, names).items()}
