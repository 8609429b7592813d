"""Training targets: every position of the training part with at least one earlier item, counted once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Window(NamedTuple):
    """A stretch of one user's items and the targets to predict inside it.

    `visible[j]` items of the window stand before `labels[j]`.
    """

    items: NDArray[np.int64]  # (n,), input: everything before the last target
    visible: NDArray[np.int64]  # (k,), 1..n
    labels: NDArray[np.int64]  # (k,)


def training_windows(sequences: Sequence[NDArray[np.int64]], length: int) -> list[Window]:
    """Cut each sequence from its end into windows of `length` items with stride `length // 2`.

    Each target belongs to the window that gives it the longest history, so that no target counts twice.

    Args:
        sequences: training parts, each (n,).
        length: T, at least 2.
    """
    windows = []
    for sequence in sequences:
        windows += _cut(sequence, length)
    return windows


def history_windows(histories: Sequence[NDArray[np.int64]], length: int) -> list[Window]:
    """One window per user for inference: the last `length` items, and a single target of unknown label (0)."""
    return [
        Window(history[-length:], np.array([min(len(history), length)]), np.zeros(1, dtype=np.int64))
        for history in histories
    ]


def _cut(sequence: NDArray[np.int64], length: int) -> list[Window]:
    windows = []
    end = len(sequence)
    stride = max(1, length // 2)
    while end >= 2:
        start = max(0, end - length)
        # The window before this one ends `stride` items earlier and starts earlier, so all that it holds is its own.
        first_own = 1 if start == 0 else max(1, end - stride - start)
        piece = sequence[start:end]
        visible = np.arange(first_own, len(piece))
        windows.append(Window(piece[:-1], visible, piece[first_own:]))
        if start == 0:
            break
        end -= stride
    return windows
