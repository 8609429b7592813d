"""Metrics of all users' top lists together: how much of the catalogue is shown, how unusual it is, how evenly."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Lists = NDArray[np.int64]  # (B, k) item ids, best first; 0 where a user has fewer candidates
Frequency = NDArray[np.int64]  # (N + 1,) training interactions of each item


def coverage(lists: Lists, frequency: Frequency) -> float:
    """Share of the N items that stand in at least one user's list."""
    return float(np.count_nonzero(_exposure(lists, frequency)) / (len(frequency) - 1))


def novelty(lists: Lists, frequency: Frequency) -> float:
    """Mean self-information -log2 p(i) of the listed items, in bits (Zhou et al., PNAS 2010).

    p(i) = (f_i + 1) / (sum_j f_j + N), the item's smoothed share of the training interactions, so that items never
    taken have a finite one. 0 where nothing is listed, as where every user has had all items.
    """
    taken = frequency[1:] + 1.0
    information = -np.log2(taken / taken.sum())  # (N,)
    listed = lists[lists > 0]
    return float(information[listed - 1].mean()) if listed.size else 0.0


def gini(lists: Lists, frequency: Frequency) -> float:
    """Gini index of exposure: 0 where all N items are listed equally often, if ever, near 1 where few take all places.

    G = sum_i (2 i - N - 1) x_i / (N sum_i x_i), x the times each item is listed, ascending, i from 1.
    """
    listed = np.sort(_exposure(lists, frequency))  # (N,)
    n = len(listed)
    return float(((2 * np.arange(1, n + 1) - n - 1) * listed).sum() / (n * max(1, int(listed.sum()))))


METRICS: dict[str, Callable[[Lists, Frequency], float]] = {"coverage": coverage, "novelty": novelty, "gini": gini}


def summarize(lists: Lists, frequency: Frequency, names: Sequence[str]) -> dict[str, float]:
    """Every metric, each of the best k items as its name says.

    Args:
        lists: (B, K), K the longest list that a name asks for, or the number of items.
        frequency: (N + 1,).
        names: like `coverage_at_10`.
    """
    values = {}
    for name in names:
        kind, _, cutoff = name.partition("_at_")
        values[name] = METRICS[kind](lists[:, : int(cutoff)], frequency)
    return values


def _exposure(lists: Lists, frequency: Frequency) -> NDArray[np.int64]:
    """How many lists hold each item, (N,)."""
    return np.bincount(lists[lists > 0], minlength=len(frequency))[1:]
