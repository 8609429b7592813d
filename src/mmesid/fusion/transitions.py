"""The transition memory: which items stood near which in the training histories, in closed form, sparse.

F[i, j] = sum over the training histories of 1 / distance, for each j among the 10 places after i; M = F + .1 F^T;
M'= D_row^-.5 M D_col^-.2, where D are the sums of M plus 1. A sequential variant of item-to-item collaborative
filtering; the exponents take away the weight of popular items, of the one that is asked for more than of the answer.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.values import Transitions

REACH = 10  # places between two items of a transition, at most
BACKWARD = 0.1  # weight of the opposite direction
ROW_POWER, COLUMN_POWER = 0.5, 0.2
CHUNK = 500_000  # occurrences of items turned into pairs at a time, 20 pairs each

# Of each pair by its code: the distances forward, then backward.
_GAINS = np.concatenate([1 / np.arange(1, REACH + 1), BACKWARD / np.arange(1, REACH + 1)])


class _Flat(NamedTuple):
    """All histories end to end."""

    items: NDArray[np.int64]  # (P,)
    first: NDArray[np.int64]  # (P,) where the history of each place begins
    end: NDArray[np.int64]  # (P,) and where the next one does


def transitions(histories: Sequence[NDArray[np.int64]], n_items: int, neighbors: int) -> Transitions:
    """Build the memory of the training histories.

    Time and memory grow with the interactions, not with N²: pairs are counted a range of items at a time.

    Args:
        histories: training parts, ids 1..N, oldest first.
        n_items: N.
        neighbors: kept per item, those of the highest weight; of equal ones the lower ids.
    """
    flat = _flatten(histories)
    forward, backward = _sums(flat, n_items)
    row_scale = (forward + BACKWARD * backward + 1) ** -ROW_POWER
    column_scale = (backward + BACKWARD * forward + 1) ** -COLUMN_POWER
    counts, items, weights = [np.zeros(1, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
    for low, high, places in _ranges(flat.items, n_items):
        rows, columns, sums = _pairs(flat, places, low, n_items)
        values = (sums * row_scale[rows + low] * column_scale[columns]).astype(np.float32)
        kept = _strongest(rows, values, neighbors)
        counts.append(np.bincount(rows[kept], minlength=high - low))
        items.append(columns[kept].astype(np.int32))
        weights.append(values[kept])
    starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return Transitions(starts, np.concatenate(items), np.concatenate(weights))


def _flatten(histories: Sequence[NDArray[np.int64]]) -> _Flat:
    lengths = np.array([len(history) for history in histories], dtype=np.int64)
    ends = np.cumsum(lengths)
    items = np.concatenate([np.zeros(0, np.int64), *histories])
    return _Flat(items, np.repeat(ends - lengths, lengths), np.repeat(ends, lengths))


def _sums(flat: _Flat, n_items: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column sums of F, each (N + 1,)."""
    rows, columns = np.zeros(n_items + 1), np.zeros(n_items + 1)
    for distance in range(1, REACH + 1):
        together = flat.first[distance:] == flat.first[:-distance]
        rows += np.bincount(flat.items[:-distance][together], minlength=n_items + 1) / distance
        columns += np.bincount(flat.items[distance:][together], minlength=n_items + 1) / distance
    return rows, columns


def _ranges(items: NDArray[np.int64], n_items: int) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Items `low` to `high` - 1, and the places where they stand; 1..N in all."""
    order = np.argsort(items, kind="stable")
    ends = np.cumsum(np.bincount(items, minlength=n_items + 1))  # (N + 1,)
    low = 1
    while low <= n_items:
        begin = int(ends[low - 1])
        high = max(low + 1, int(np.searchsorted(ends, begin + CHUNK, side="right")))
        high = min(high, n_items + 1)
        yield low, high, order[begin : int(ends[high - 1])]
        low = high


def _pairs(
    flat: _Flat, places: NDArray[np.int64], low: int, n_items: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows (from 0), columns and values of M, each (E,), by row and column."""
    rows = flat.items[places] - low
    keys = [np.zeros(0, np.int64)]
    for step in range(1, REACH + 1):
        for code, others in ((step - 1, places + step), (REACH + step - 1, places - step)):
            inside = (others >= flat.first[places]) & (others < flat.end[places])
            pairs = rows[inside] * (n_items + 1) + flat.items[others[inside]]
            keys.append(pairs * len(_GAINS) + code)
    sorted_keys = np.concatenate(keys)
    sorted_keys.sort()
    pairs, codes = np.divmod(sorted_keys, len(_GAINS))
    begins = np.flatnonzero(np.diff(pairs, prepend=-1))
    sums = np.add.reduceat(_GAINS[codes], begins) if len(begins) else np.zeros(0)
    return *np.divmod(pairs[begins], n_items + 1), sums


def _strongest(rows: NDArray[np.int64], values: NDArray[np.float32], neighbors: int) -> NDArray[np.int64]:
    """Which entries are kept, in the order in which they stand."""
    crowded = np.flatnonzero(np.bincount(rows)[rows] > neighbors) if len(rows) else rows
    keys = (rows[crowded] << 32) - values[crowded].view(np.int32)  # the bits of positive floats are in their order
    order = crowded[np.argsort(keys, kind="stable")]
    row = rows[order]
    begins = np.flatnonzero(np.diff(row, prepend=-1))
    place = np.arange(len(row)) - np.repeat(begins, np.diff(np.append(begins, len(row))))
    dropped = np.zeros(len(rows), dtype=np.bool_)
    dropped[order[place >= neighbors]] = True
    return np.flatnonzero(~dropped)
