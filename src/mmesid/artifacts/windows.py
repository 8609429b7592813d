"""Training targets: every position of the training part with at least one earlier item, counted once.

SASRec and the recommender train on the same windows and see the same number of items.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Window(NamedTuple):
    """A stretch of one user's items and the targets to predict inside it.

    `visible[j]` items of the window stand before `labels[j]`.
    """

    items: NDArray[np.int64]  # (n,), input: everything before the last target, n <= T
    visible: NDArray[np.int64]  # (k,), 1..n
    labels: NDArray[np.int64]  # (k,)


def training_windows(sequences: Sequence[NDArray[np.int64]], length: int) -> list[Window]:
    """Cut each sequence from its end into windows of T inputs with stride T // 2.

    Each target belongs to the window that gives it the longest history, so that no target counts twice. The longest
    history is T items, as in `history_windows`.

    Args:
        sequences: training parts, each (n,).
        length: T, at least 2.
    """
    windows = []
    for sequence in sequences:
        stop = len(sequence) - 1  # the last item is a target only
        while stop > 0:
            start = max(0, stop - length)
            first = stop - length // 2 if start else 0  # the window before this one ends there
            visible = np.arange(first - start + 1, stop - start + 1)
            windows.append(Window(sequence[start:stop], visible, sequence[first + 1 : stop + 1]))
            stop = first
    return windows


def history_windows(histories: Sequence[NDArray[np.int64]], length: int) -> list[Window]:
    """One window per user for inference: the last T items, and a single target of unknown label (0).

    Args:
        histories: each (n,), oldest first.
        length: T.
    """
    unknown = np.zeros(1, dtype=np.int64)
    return [Window(history[-length:], np.array([min(len(history), length)]), unknown) for history in histories]
