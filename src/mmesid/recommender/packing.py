"""Many users in one row, exactly: the prompt once, then each window's items and a copy of the response per target.

A row is  [prompt | items of window 1 | response copies of window 1 | items of window 2 | ...].  With I prompt tokens,
item j (from 1) of a window stands at position I + j - 1, and response token r of a target that sees t items at
I + t + r. Without response tokens a target is read at the last item that it sees. What a token may see is said in
`attention`: each target sees exactly what it would see alone in a row of its own, at the same positions, so logits and
gradients equal the one-prefix-at-a-time run.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.artifacts.windows import Window
from mmesid.recommender.prompt import Prompt

PADDING = -1


class PackedBatch(NamedTuple):
    """Rows of packed windows. Index 0 in `tokens` or `items` means: not a text token, not an item."""

    tokens: Tensor  # (B, S) text token id, 0 where an item stands
    items: Tensor  # (B, S) item id, 0 where a text token stands
    positions: Tensor  # (B, S)
    window: Tensor  # (B, S) 0 for the prompt, -1 for padding, else the window's number in the row
    visible: Tensor  # (B, S) how many items of the window this token may see
    copy: Tensor  # (B, S) 0 outside responses, else the number of the response copy
    rows: Tensor  # (G,) row of each target's last response token, or of the last item that it sees
    columns: Tensor  # (G,) and its column
    labels: Tensor  # (G,) the item to predict

    def to(self, device: str | torch.device) -> "PackedBatch":
        """The same batch on another device."""
        return PackedBatch(*(tensor.to(device) for tensor in self))


def window_tokens(window: Window, prompt: Prompt) -> int:
    """Tokens that a window takes in a row, the prompt not counted."""
    return len(window.items) + len(window.visible) * len(prompt.after)


def first_fit(windows: Sequence[Window], prompt: Prompt, row_tokens: int) -> list[list[int]]:
    """Distribute windows over rows of at most `row_tokens` tokens, longest first; a longer window gets its own row.

    Returns:
        For each row the positions of its windows in `windows`.
    """
    sizes = np.array([window_tokens(window, prompt) for window in windows])
    rows: list[list[int]] = []
    free = np.zeros(len(windows), dtype=np.int64)
    for window in np.argsort(-sizes, kind="stable").tolist():
        fitting = np.flatnonzero(free[: len(rows)] >= sizes[window])
        row = int(fitting[0]) if len(fitting) else len(rows)
        if row == len(rows):
            rows.append([])
            free[row] = row_tokens - len(prompt.before)
        rows[row].append(window)
        free[row] -= sizes[window]
    return rows


def pack(windows: Sequence[Window], prompt: Prompt, row_tokens: int) -> PackedBatch:
    """First-fit windows into rows, and the rows into a batch; targets come out in the order of `first_fit`."""
    assignment = first_fit(windows, prompt, row_tokens)
    return pack_rows([[windows[window] for window in row] for row in assignment], prompt)


def pack_rows(rows: Sequence[Sequence[Window]], prompt: Prompt) -> PackedBatch:
    """Lay each row's windows out and pad the rows to the longest; targets come out row by row, window by window."""
    laid_out = [_row(row, prompt) for row in rows]
    width = max(row.shape[1] for row in laid_out)
    grid = np.zeros((6, len(rows), width), dtype=np.int64)
    grid[3] = PADDING
    readout = []
    for number, row in enumerate(laid_out):
        grid[:, number, : row.shape[1]] = row
        last = _read_at(row, rows[number], prompt)
        readout.append(np.stack([np.full(len(last), number), last]))
    labels = np.concatenate([window.labels for row in rows for window in row])
    return PackedBatch(*map(torch.from_numpy, (*grid, *np.concatenate(readout, axis=1), labels)))


def _read_at(row: NDArray[np.int64], windows: Sequence[Window], prompt: Prompt) -> NDArray[np.int64]:
    """The column of each target of a row, in their order."""
    if prompt.after:
        return np.flatnonzero(np.diff(row[5], append=0) * (row[5] > 0))  # where a response copy ends
    starts = len(prompt.before) + np.cumsum([0, *(len(window.items) for window in windows)])
    return np.concatenate([start + window.visible - 1 for start, window in zip(starts, windows, strict=False)])


def _row(windows: Sequence[Window], prompt: Prompt) -> NDArray[np.int64]:
    """One row's tokens, items, positions, window, visible, copy, (6, S)."""
    before, after = np.array(prompt.before), np.array(prompt.after)
    start, length = len(before), len(after)
    none = np.zeros(start, dtype=np.int64)
    parts = [np.stack([before, none, np.arange(start), none, none, none])]
    copies = 0
    for number, window in enumerate(windows, start=1):
        n, k = len(window.items), len(window.visible)
        seen = np.arange(1, n + 1)
        zero = np.zeros(n, dtype=np.int64)
        parts.append(np.stack([zero, window.items, start + seen - 1, np.full(n, number), seen, zero]))
        visible = np.repeat(window.visible, length)
        order = np.tile(np.arange(length), k)
        copy = np.repeat(np.arange(copies + 1, copies + k + 1), length)
        tokens = np.tile(after, k)
        mine = np.full(k * length, number)
        parts.append(np.stack([tokens, np.zeros_like(tokens), start + visible + order, mine, visible, copy]))
        copies += k
    return np.concatenate(parts, axis=1)
