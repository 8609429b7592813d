"""Three ways to the gradients of one optimizer step, all of the same loss: packed, padded, and the authors'.

Each leaves the gradients of the mean cross-entropy over the step's targets in the model's parameters, and returns that
mean. G is the number of targets of the step, I the number of prompt tokens before the items, R of those after.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mmesid.artifacts.windows import Window
from mmesid.recommender.model import Recommender
from mmesid.recommender.packing import pack

ROWS = 64  # of a padded batch


class Prefix(NamedTuple):
    """One training example of the unpacked ways."""

    items: NDArray[np.int64]  # (n,), all that the target may see
    label: int


def prefixes(windows: Sequence[Window]) -> list[Prefix]:
    """Every target of the windows with its own history, (G,)."""
    return [
        Prefix(window.items[:seen], label)
        for window in windows
        for seen, label in zip(window.visible.tolist(), window.labels.tolist(), strict=True)
    ]


def packed(model: Recommender, windows: Sequence[Window], row_tokens: int) -> float:
    """The product's way: many users in one row, one head for all targets."""
    batch = pack(windows, model.blueprint.prompt, row_tokens).to(model.device)
    loss = F.cross_entropy(model.logits(model.represent(batch)), batch.labels)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item()


def padded(model: Recommender, windows: Sequence[Window], rows: int = ROWS) -> float:
    """One prefix per row, rows of near length together, padded on the right, with the product's cheap head.

    This is the unpacked way at its best: causal attention without a mask (what stands on the right of a row is never
    seen), items of a batch projected once, the catalogue fused once a step and its gradient collected over the batches.
    """
    examples = sorted(prefixes(windows), key=lambda example: len(example.items))
    fused = model.fused_items()  # (N + 1, C)
    leaf = fused.detach().requires_grad_()
    total = 0.0
    for start in range(0, len(examples), rows):
        batch = examples[start : start + rows]
        users = model.items.users(represent(model, [example.items for example in batch]))
        total += _backward(users, leaf, batch, len(examples))
    fused.backward(leaf.grad)  # type: ignore[no-untyped-call]
    return total


def authors(model: Recommender, windows: Sequence[Window]) -> float:
    """The MME-SID authors' way: a micro-batch is one prefix, and each projects the whole catalogue anew."""
    examples = prefixes(windows)
    return sum(
        _backward(model.items.users(represent(model, [example.items])), model.fused_items(), [example], len(examples))
        for example in examples
    )


def represent(model: Recommender, histories: Sequence[NDArray[np.int64]]) -> Tensor:
    """The hidden state at the last response token of every row [prompt | items | response | padding], (B, C)."""
    before, after = model.blueprint.prompt
    ends = np.array([len(before) + len(history) + len(after) for history in histories])
    tokens = np.zeros((len(histories), ends.max()), dtype=np.int64)
    items = np.zeros_like(tokens)
    for row, (history, end) in enumerate(zip(histories, ends, strict=True)):
        tokens[row, : len(before)] = before
        items[row, len(before) : end - len(after)] = history
        tokens[row, end - len(after) : end] = after
    device = model.device
    places = torch.from_numpy(items).to(device)
    words = model.backbone.get_input_embeddings()(torch.from_numpy(tokens).to(device))  # type: ignore[operator]  # (B, S, C)
    unique, inverse = torch.unique(places, return_inverse=True)
    vectors = model.input_dropout(model.items.inputs(unique)[inverse])  # (B, S, C)
    inputs = torch.where((places > 0).unsqueeze(-1), vectors.to(words.dtype), words)
    hidden = model.backbone(inputs_embeds=inputs, use_cache=False).last_hidden_state  # (B, S, C)
    users: Tensor = model.output_dropout(hidden[torch.arange(len(ends)), torch.from_numpy(ends - 1)].float())
    return users


def padded_tokens(model: Recommender, windows: Sequence[Window], rows: int = ROWS) -> int:
    """Tokens that `padded` computes, padding included."""
    lengths = sorted(len(example.items) for example in prefixes(windows))
    around = sum(map(len, model.blueprint.prompt))
    batches = [lengths[start : start + rows] for start in range(0, len(lengths), rows)]
    return sum(len(batch) * (around + batch[-1]) for batch in batches)


def packed_tokens(model: Recommender, windows: Sequence[Window], row_tokens: int) -> int:
    """Tokens that `packed` computes, padding included."""
    return pack(windows, model.blueprint.prompt, row_tokens).tokens.numel()


def _backward(users: Tensor, items: Tensor, batch: Sequence[Prefix], targets: int) -> float:
    """This batch's share of the step's mean loss; adds its gradients."""
    scores = (users @ items.T).index_fill(
        1, torch.zeros(1, dtype=torch.long, device=users.device), float("-inf")
    )  # (B, N + 1)
    labels = torch.tensor([example.label for example in batch], device=users.device)
    loss = F.cross_entropy(scores, labels, reduction="sum") / targets
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item()
