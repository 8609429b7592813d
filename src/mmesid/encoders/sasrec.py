"""SASRec: a causal transformer over items. Its table is the collaborative embedding, its ranking the baseline."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmesid.config import EncodeCollaborative
from mmesid.encoders.batching import pad
from mmesid.evaluation.ranking import Scores

INIT_STD = 0.02
USERS = 64  # scored together: users of alike length, so that little is padded


class Block(nn.Module):
    """Pre-norm transformer block: x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D); a position sees itself and the earlier ones only."""
        x = x + self.dropout(self._attend(self.attention_norm(x)))
        deeper: Tensor = x + self.dropout(self.feed_forward(x))
        return deeper

    def _attend(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        parts = self.query_key_value(x).view(B, T, 3, self.heads, D // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
        rate = self.dropout.p if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, dropout_p=rate, is_causal=True)
        attended: Tensor = self.output(mixed.transpose(1, 2).reshape(B, T, D))
        return attended


class Sasrec(nn.Module):
    """Self-attentive sequential recommendation (Kang and McAuley, ICDM 2018), item table tied to the output.

    Item embeddings enter times sqrt(D), as in the authors' code; without it training is several times slower.
    Differs from the paper: pre-norm blocks, GELU, and a score for every item, trained by full-softmax cross-entropy.
    Histories are padded on the right: behind the causal mask no real position ever sees the padding.

    Args:
        n_items: N.
        width: D of the item embedding.
        blocks: transformer blocks.
        heads: attention heads of each block.
        dropout: on the input and inside the blocks.
        history_length: T, the longest history.
    """

    def __init__(self, n_items: int, width: int, blocks: int, heads: int, dropout: float, history_length: int) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items + 1, width, padding_idx=0)
        self.positions = nn.Embedding(history_length, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.apply(_initialise)

    def forward(self, items: Tensor) -> Tensor:
        """User representation after each item.

        Args:
            items: (B, T) item ids, 0 pads on the right.

        Returns:
            (B, T, D); what stands at padded positions means nothing.
        """
        places = torch.arange(items.shape[1], device=items.device)
        scaled = self.items(items) * self.items.embedding_dim**0.5  # else positions drown the items of a small table
        x = self.dropout(scaled + self.positions(places))  # (B, T, D)
        for block in self.blocks:
            x = block(x)
        hidden: Tensor = self.norm(x)
        return hidden

    def score(self, users: Tensor) -> Tensor:
        """Score of every item, (n, D) -> (n, N + 1); -inf for padding."""
        scores = users @ self.items.weight.T
        scores[:, 0] = -torch.inf
        return scores


def build(n_items: int, settings: EncodeCollaborative, history_length: int) -> Sasrec:
    """An untrained SASRec of the settings' size."""
    return Sasrec(n_items, settings.dimension, settings.blocks, settings.heads, settings.dropout, history_length)


def scorer(model: Sasrec) -> Scores:
    """The scores of every item for some histories; the model sees the last T items of each.

    Args:
        model: on any device; it must not be trained while the scorer is in use.
    """
    device, length = model.items.weight.device, model.positions.num_embeddings

    @torch.no_grad()
    def score(histories: Sequence[NDArray[np.int64]]) -> Tensor:
        model.eval()
        recent = [history[-length:] for history in histories]
        hidden = torch.empty(len(recent), model.items.embedding_dim, device=device)  # (b, D)
        by_length = np.argsort([len(history) for history in recent], kind="stable")
        for start in range(0, len(recent), USERS):
            users = by_length[start : start + USERS]
            items = torch.from_numpy(pad([recent[user] for user in users]))
            last = (items > 0).sum(dim=1) - 1
            hidden[users] = model(items.to(device))[torch.arange(len(users)), last]
        return model.score(hidden)

    return score


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INIT_STD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        with torch.no_grad():
            module.weight[module.padding_idx] = 0
