"""SASRec's batches: windows of alike length together, padded on the right."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.artifacts.windows import Window

POOL = 16  # batches that are sorted by length together: little padding, yet the batches stay random


class Batch(NamedTuple):
    """A step's input and targets."""

    items: Tensor  # (B, T), 0 pads on the right
    targets: Tensor  # (B, T), 0 where no target counts


def batches(windows: Sequence[Window], size: int, generator: np.random.Generator) -> list[list[Window]]:
    """Shuffle the windows into batches of `size` whose lengths are alike."""
    order = generator.permutation(len(windows))
    groups = []
    for begin in range(0, len(order), POOL * size):
        pool = sorted(order[begin : begin + POOL * size], key=lambda i: len(windows[i].items))
        groups += [[windows[i] for i in pool[at : at + size]] for at in range(0, len(pool), size)]
    return [groups[i] for i in generator.permutation(len(groups))]


def collate(group: Sequence[Window]) -> Batch:
    """Pad a batch's windows to the longest of them."""
    items = pad([window.items for window in group])
    targets = np.zeros_like(items)
    for row, window in enumerate(group):
        targets[row, window.visible - 1] = window.labels
    return Batch(torch.from_numpy(items), torch.from_numpy(targets))


def pad(sequences: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Sequences as the rows of one array, (B, longest), 0 behind their ends."""
    padded = np.zeros((len(sequences), max(map(len, sequences))), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
    return padded
