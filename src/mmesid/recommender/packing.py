"""Many users in one row, exactly: the prompt once, then each window's items and a copy of the response per target.

A row is  [prompt | items of window 1 | response copies of window 1 | items of window 2 | ...].  With I prompt tokens,
item j (from 1) of a window stands at position I + j - 1, and response token r of a target that sees t items at
I + t + r. A query may see a key if the key is

- a prompt token at or before the query's position,
- an item of the query's window, among the first t items the query may see,
- a token of the query's own response copy, at or before the query.

So each target sees exactly what it would see alone in a row of its own, at the same positions, and logits and gradients
equal the one-prefix-at-a-time run. Padding sees itself, else its softmax would be NaN.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.recommender.prompt import Prompt
from mmesid.recommender.windows import Window

_PADDING = -1


class PackedBatch(NamedTuple):
    """Rows of packed windows. Index 0 in `tokens` or `items` means: not a text token, not an item."""

    tokens: Tensor  # (B, S) text token id, 0 where an item stands
    items: Tensor  # (B, S) item id, 0 where a text token stands
    positions: Tensor  # (B, S)
    window: Tensor  # (B, S) 0 for the prompt, -1 for padding, else the window's number in the row
    visible: Tensor  # (B, S) how many items of the window this token may see
    copy: Tensor  # (B, S) 0 outside responses, else the number of the response copy
    rows: Tensor  # (G,) row of each target's last response token
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
    """Pack windows into rows and pad the rows to the longest.

    Targets come out grouped by row, and in each row in the order of `order_of_windows`.
    """
    assignment = first_fit(windows, prompt, row_tokens)
    rows = [_row([windows[window] for window in row], prompt) for row in assignment]
    width = max(row.shape[1] for row in rows)
    grid = np.zeros((6, len(rows), width), dtype=np.int64)
    grid[3] = _PADDING
    readout, labels = [], []
    for number, (row, members) in enumerate(zip(rows, assignment, strict=True)):
        grid[:, number, : row.shape[1]] = row
        last = np.flatnonzero(np.diff(row[5], append=0) * (row[5] > 0))  # where a response copy ends
        readout.append(np.stack([np.full(len(last), number), last]))
        labels += [windows[window].labels for window in members]
    targets = np.concatenate([*readout], axis=1)
    return PackedBatch(*map(torch.from_numpy, (*grid, *targets, np.concatenate(labels))))


def order_of_windows(windows: Sequence[Window], prompt: Prompt, row_tokens: int) -> NDArray[np.int64]:
    """In which order `pack` lays out the windows, (len(windows),): where each target of the batch comes from."""
    return np.array([window for row in first_fit(windows, prompt, row_tokens) for window in row], dtype=np.int64)


def attention_mask(batch: PackedBatch, dtype: torch.dtype) -> Tensor:
    """Additive mask, 0 where a query may see a key and the lowest finite number elsewhere, (B, 1, S, S)."""
    query = [tensor.unsqueeze(2) for tensor in (batch.positions, batch.window, batch.visible, batch.copy)]
    key = [tensor.unsqueeze(1) for tensor in (batch.positions, batch.window, batch.visible, batch.copy)]
    q_position, q_window, q_visible, q_copy = query
    k_position, k_window, k_visible, k_copy = key
    earlier = k_position <= q_position
    prompt = (k_window == 0) & earlier
    item = (k_window > 0) & (k_copy == 0) & (k_window == q_window) & (k_visible <= q_visible)
    response = (k_copy > 0) & (k_copy == q_copy) & earlier
    itself = torch.eye(batch.positions.shape[1], dtype=torch.bool, device=batch.positions.device)
    allowed = (prompt | item | response) & (q_window != _PADDING) | itself
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min).unsqueeze(1)


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
