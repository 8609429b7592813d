"""Bootstrap over users: how far a mean, or the difference of two means, could be off."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

INTERVAL = (0.025, 0.975)  # quantiles of a 95 % interval
CHUNK = 4_000_000  # draws held in memory at a time, 32 MB


class PairedDifference(NamedTuple):
    """Mean of a - b over users, with its 95 % interval."""

    difference: float
    low: float
    high: float
    p_value: float  # two-sided, of a difference of 0


def confidence_interval(values: NDArray[np.floating], resamples: int, seed: int) -> tuple[float, float]:
    """Percentile 95 % interval of the mean (Efron, 1979).

    Args:
        values: (B,), one per user.
        resamples: of the B users, with replacement.
        seed: of the resamples.

    Raises:
        ValueError: there are no users.
    """
    low, high = np.quantile(_resampled_means(values, resamples, seed), INTERVAL)
    return float(low), float(high)


def paired_bootstrap(a: NDArray[np.floating], b: NDArray[np.floating], resamples: int, seed: int) -> PairedDifference:
    """Compare two models on the same users: users are resampled, each with both of its values.

    p = 2 min(share of resampled differences <= 0, share >= 0), each share with one added to numerator and denominator.

    Args:
        a, b: (B,), row i of both is the same user.
        resamples: of the B users, with replacement.
        seed: of the resamples.

    Raises:
        ValueError: there are no users, or the two differ in number.
    """
    if a.shape != b.shape:
        raise ValueError(f"both models need the same users: {a.shape} and {b.shape} values came")
    differences = a.astype(np.float64) - b
    means = _resampled_means(differences, resamples, seed)
    low, high = np.quantile(means, INTERVAL)
    tail = 1 + min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
    p_value = float(min(1.0, 2 * tail / (resamples + 1)))
    return PairedDifference(float(differences.mean()), float(low), float(high), p_value)


def _resampled_means(values: NDArray[np.floating], resamples: int, seed: int) -> NDArray[np.float64]:
    """Means of `resamples` draws of B users, (resamples,)."""
    users = len(values)
    if not users:
        raise ValueError("no user to resample")
    rng = np.random.default_rng(seed)
    wide = values.astype(np.float64)
    rows = max(1, CHUNK // users)
    parts = [
        wide[rng.integers(users, size=(min(rows, resamples - start), users))].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(parts)
