"""Training windows: how long sequences are cut, and how windows become batches with little padding."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

POOL = 16  # batches that are sorted by length together: little padding, yet the batches stay random


class Window(NamedTuple):
    """Input positions start..stop-1 of one user's sequence; position p predicts item p + 1 and counts from `first`."""

    user: int
    start: int
    stop: int
    first: int


class Batch(NamedTuple):
    """A step's input and targets."""

    items: Tensor  # (B, T), 0 pads on the right
    targets: Tensor  # (B, T), 0 where no target counts


def cut(sequences: Sequence[NDArray[np.int64]], history_length: int) -> list[Window]:
    """Cut each sequence from its end into windows of T inputs with stride T // 2.

    Every item with at least one earlier item is a target exactly once, in the window that gives it the longest history.

    Args:
        sequences: training part of each user.
        history_length: T.
    """
    windows = []
    for user, sequence in enumerate(sequences):
        stop = len(sequence) - 1
        while stop > 0:
            start = max(0, stop - history_length)
            first = stop - history_length // 2 if start else 0
            windows.append(Window(user, start, stop, first))
            stop = first
    return windows


def batches(windows: Sequence[Window], size: int, generator: np.random.Generator) -> list[list[Window]]:
    """Shuffle the windows into batches of `size` whose lengths are alike."""
    order = generator.permutation(len(windows))
    groups = []
    for begin in range(0, len(order), POOL * size):
        pool = sorted(order[begin : begin + POOL * size], key=lambda i: windows[i].stop - windows[i].start)
        groups += [[windows[i] for i in pool[at : at + size]] for at in range(0, len(pool), size)]
    return [groups[i] for i in generator.permutation(len(groups))]


def collate(group: Sequence[Window], sequences: Sequence[NDArray[np.int64]]) -> Batch:
    """Pad a batch's windows to the longest of them."""
    shape = (len(group), max(window.stop - window.start for window in group))
    items, targets = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, (user, start, stop, first) in enumerate(group):
        items[row, : stop - start] = sequences[user][start:stop]
        targets[row, first - start : stop - start] = sequences[user][first + 1 : stop + 1]
    return Batch(torch.from_numpy(items), torch.from_numpy(targets))


def histories(
    sequences: Sequence[NDArray[np.int64]], history_length: int, size: int
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Batches of whole users for inference: the users' positions and their last T items, shortest histories first."""
    order = np.argsort([min(len(sequence), history_length) for sequence in sequences], kind="stable")
    for begin in range(0, len(order), size):
        users = order[begin : begin + size]
        recent = [sequences[user][-history_length:] for user in users]
        items = np.zeros((len(users), max(map(len, recent))), dtype=np.int64)
        for row, history in enumerate(recent):
            items[row, : len(history)] = history
        yield users, torch.from_numpy(items)
