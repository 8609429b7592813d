"""What a token of a packed row may see: one predicate, as an additive mask and as flex attention's block mask.

A query may see a key if the key is

- a prompt token at or before the query's position (all of them where the prompt lies in a cache),
- an item of the query's window, among the first t items the query may see,
- a token of the query's own response copy, at or before the query.

Padding sees itself, else its softmax would be NaN.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmesid.recommender.packing import PADDING, PackedBatch

Predicate = Callable[[Any, Any, Any, Any], Tensor]


def predicate(batch: PackedBatch) -> Predicate:
    """Whether in row b a query may see a key, for indices that broadcast: `allowed(b, head, query, key)`."""
    positions, windows, visible, copies = batch.positions, batch.window, batch.visible, batch.copy

    def allowed(row: Any, head: Any, query: Any, key: Any) -> Tensor:
        earlier = positions[row, key] <= positions[row, query]
        prompt = (windows[row, key] == 0) & earlier
        same_window = (windows[row, key] > 0) & (windows[row, key] == windows[row, query])
        item = (copies[row, key] == 0) & same_window & (visible[row, key] <= visible[row, query])
        response = (copies[row, key] > 0) & (copies[row, key] == copies[row, query]) & earlier
        seen: Tensor = (prompt | item | response) & (windows[row, query] != PADDING) | (query == key)
        return seen

    return allowed


def additive_mask(batch: PackedBatch, dtype: torch.dtype, cached: int = 0) -> Tensor:
    """0 where a query may see a key and the lowest finite number elsewhere, (B, 1, S, cached + S)."""
    n_rows, length = batch.positions.shape
    device = batch.positions.device
    rows = torch.arange(n_rows, device=device)[:, None, None]
    columns = torch.arange(length, device=device)
    allowed = predicate(batch)(rows, None, columns[None, :, None], columns[None, None, :])
    mask = torch.zeros(n_rows, length, cached + length, dtype=dtype, device=device)
    mask[:, :, cached:].masked_fill_(~allowed, torch.finfo(dtype).min)
    return mask.unsqueeze(1)


def block_mask(batch: PackedBatch, dtype: torch.dtype, cached: int = 0) -> Any:
    """The same as a `BlockMask` for flex attention: blocks that nobody may see are never computed."""
    from torch.nn.attention.flex_attention import create_block_mask

    allowed = predicate(batch)

    def beyond_the_cache(row: Any, head: Any, query: Any, key: Any) -> Tensor:
        seen: Tensor = (key < cached) | allowed(row, head, query, (key - cached).clamp(min=0))
        return seen

    n_rows, length = batch.positions.shape
    device = batch.positions.device
    return create_block_mask(beyond_the_cache, n_rows, None, length, cached + length, device=device)


MASKS: dict[str, Callable[[PackedBatch, torch.dtype, int], Any]] = {
    "sdpa": additive_mask,
    "eager": additive_mask,
    "flex": block_mask,
}
