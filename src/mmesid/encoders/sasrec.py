"""SASRec: a causal transformer over items. Its table is the collaborative embedding, its ranking the baseline.

The body knows items by `Items` alone, so that a rival whose items are made of something else is the same transformer.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmesid.config import EncodeCollaborative
from mmesid.encoders.batching import pad
from mmesid.evaluation.ranking import Scores
from mmesid.kernels.dropout import Dropout

INIT_STD = 0.02  # of the table; matrices start as PyTorch has it: as small as this they learn late, at this width
TEMPERATURE = 0.07  # scores are products over this: without it a table that starts small learns several times slower
ROTARY_BASE = 10_000.0
EPSILON = 1e-6  # of every norm, as in Llama; the rows of a new table have a mean square of INIT_STD^2 = 4e-4
USERS = 64  # scored together: users of alike length, so that little is padded


class Block(nn.Module):
    """Llama's block: x + attention(norm(x)), then x + feed-forward(norm(x)); RMS norms, SwiGLU, no biases.

    Rotary positions: Su et al., arXiv 2104.09864. SwiGLU: Shazeer, arXiv 2002.05202; it is twice as wide as x.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.RMSNorm(width, EPSILON)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.RMSNorm(width, EPSILON)
        self.gate_and_value = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D); a position sees itself and the earlier ones only."""
        x = x + self.dropout(self._attend(self.attention_norm(x)))
        deeper: Tensor = x + self.dropout(self._feed_forward(self.feed_forward_norm(x)))
        return deeper

    def _attend(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        parts = self.query_key_value(x).view(B, T, 3, self.heads, D // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
        rate = self.dropout.p if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(
            rotate(query), rotate(key), value, dropout_p=rate, is_causal=True
        )
        attended: Tensor = self.output(mixed.transpose(1, 2).reshape(B, T, D))
        return attended

    def _feed_forward(self, x: Tensor) -> Tensor:
        gate, value = self.gate_and_value(x).chunk(2, dim=-1)
        fed: Tensor = self.down(functional.silu(gate) * value)
        return fed


def rotate(x: Tensor) -> Tensor:
    """Rotary positions: pair j of position t turns by t / ROTARY_BASE^(2j / d), so products see distances alone.

    Args:
        x: (..., T, d); pair j are the components j and d // 2 + j; the last one of an odd d stays as it is.
    """
    T, half = x.shape[-2], x.shape[-1] // 2
    speeds = ROTARY_BASE ** (-torch.arange(half, device=x.device) / half)
    angles = torch.arange(T, device=x.device)[:, None] * speeds  # (T, d // 2)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat((first * cos - second * sin, first * sin + second * cos, rest), dim=-1)


class Vectors(NamedTuple):
    """All items of a catalogue as they stand; row 0 is padding: it is no class, and gets no gradient."""

    inputs: Tensor  # (N + 1, D), as they enter, before they are scaled to a root mean square of 1
    classes: Tensor  # (N + 1, D), as a user is multiplied with them


class Items(ABC, nn.Module):
    """What tells one transformer from another: where the vectors of its items come from, and how they are compared."""

    @abstractmethod
    def vectors(self) -> Vectors:
        """Of every item."""

    @abstractmethod
    def users(self, hidden: Tensor) -> Tensor:
        """The body's output as it is multiplied with the classes, (..., D)."""


class Transformer(nn.Module):
    """A causal transformer over items: the body of a small Llama between the items' inputs and their classes.

    score(i) = <users(RMS-norm(h_t)), class_i>; items enter as rows scaled to a root mean square of 1. Histories are
    padded on the right: behind the causal mask no real position ever sees the padding.

    Args:
        items: where the vectors come from.
        width: D of the vectors, a multiple of `heads`.
        blocks: transformer blocks.
        heads: attention heads of each block.
        dropout: on the input, the attention and what each layer adds.
        history_length: T, the longest history.
    """

    def __init__(self, items: Items, width: int, blocks: int, heads: int, dropout: float, history_length: int) -> None:
        super().__init__()
        self.history_length = history_length
        self.items = items
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(blocks))
        self.norm = nn.RMSNorm(width, EPSILON)

    def forward(self, items: Tensor, vectors: Vectors | None = None) -> Tensor:
        """User representation after each item.

        Args:
            items: (B, T) item ids, 0 pads on the right.
            vectors: of all items, where they are made already.

        Returns:
            (B, T, D); what stands at padded positions means nothing.
        """
        inputs = (vectors or self.items.vectors()).inputs
        embedded = functional.embedding(items, inputs, padding_idx=0)
        x = self.dropout(functional.rms_norm(embedded, embedded.shape[-1:], eps=EPSILON))  # (B, T, D)
        for block in self.blocks:
            x = block(x)
        return self.items.users(self.norm(x))

    def score(self, users: Tensor, vectors: Vectors | None = None) -> Tensor:
        """Score of every item, (n, D) -> (n, N + 1); -inf for padding."""
        scores = users @ (vectors or self.items.vectors()).classes.T
        scores[:, 0] = -torch.inf
        return scores

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device


class ItemTable(nn.Embedding, Items):
    """A learned vector per item, the same at input and at output; users are divided by the temperature."""

    def vectors(self) -> Vectors:
        """The table, twice."""
        return Vectors(self.weight, self.weight)

    def users(self, hidden: Tensor) -> Tensor:
        """Over the temperature."""
        return hidden / TEMPERATURE


class Sasrec(Transformer):
    """Self-attentive sequential recommendation (Kang and McAuley, ICDM 2018), item table tied to the output.

    Differs from the paper: a score for every item, trained by full-softmax cross-entropy; the temperature; the body of
    a small Llama (RMS norms before each layer, SwiGLU, no biases) with rotary positions instead of learned ones.
    docs/log.md, 2026-11-28, has what each brings.

    Args:
        n_items: N.
        width, blocks, heads, dropout, history_length: as in Transformer.
    """

    items: ItemTable

    def __init__(self, n_items: int, width: int, blocks: int, heads: int, dropout: float, history_length: int) -> None:
        super().__init__(ItemTable(n_items + 1, width, padding_idx=0), width, blocks, heads, dropout, history_length)
        nn.init.normal_(self.items.weight, std=INIT_STD)
        with torch.no_grad():
            self.items.weight[0] = 0


def build(n_items: int, settings: EncodeCollaborative, history_length: int) -> Sasrec:
    """An untrained SASRec of the settings' size."""
    return Sasrec(n_items, settings.dimension, settings.blocks, settings.heads, settings.dropout, history_length)


@torch.no_grad()
def scorer(model: Transformer) -> Scores:
    """The scores of every item for some histories; the model sees the last T items of each.

    Args:
        model: on any device; it must not be trained while the scorer is in use.
    """
    device, length, vectors = model.device, model.history_length, model.items.vectors()

    @torch.no_grad()
    def score(histories: Sequence[NDArray[np.int64]]) -> Tensor:
        model.eval()
        recent = [history[-length:] for history in histories]
        hidden = torch.empty(len(recent), vectors.classes.shape[1], device=device)  # (b, D)
        by_length = np.argsort([len(history) for history in recent], kind="stable")
        for start in range(0, len(recent), USERS):
            users = by_length[start : start + USERS]
            items = torch.from_numpy(pad([recent[user] for user in users]))
            last = (items > 0).sum(dim=1) - 1
            hidden[users] = model(items.to(device), vectors)[torch.arange(len(users)), last]
        return model.score(hidden, vectors)

    return score
