"""Cross-entropy over all items from factored scores: plain, exact in chunks of items, or sampled.

Scores are a sum of products, s[g, i] = sum_m w[i, m] <user_m[g], item_m[i]>, so that none of the losses needs a fused
item matrix. Item 0 is padding and never a class. Every loss is summed over the targets.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mmesid.kernels import softmax

_COPIES = 3  # (G, N) arrays that the plain loss holds at once: scores, log-probabilities, their gradient
_FLOAT = 4  # bytes


class Factors(NamedTuple):
    """What the scores of every item are made of."""

    users: tuple[Tensor, ...]  # each (G, D_m)
    items: tuple[Tensor, ...]  # each (N + 1, D_m)
    weights: Tensor | None  # (N + 1, M), None: all one


class Negatives(NamedTuple):
    """Items drawn with replacement, the same for every target of a step."""

    items: Tensor  # (S,)
    log_expected: Tensor  # (S,) log of how often each was to be expected, log(S q_i)


class Objective(NamedTuple):
    """Which loss a step minimises, summed over its targets."""

    memory: int  # bytes that (G, N) arrays and a fused item matrix may take
    negatives: Negatives | None  # None: over all items, exact

    def exact(self, factors: Factors, labels: Tensor) -> Tensor:
        """From the factors of every item."""
        return cross_entropy(factors, labels, self.memory)

    def sampled(self, factors: Factors, labels: Tensor) -> Tensor:
        """From the factors of each target's own item and then of the negatives, (G + S) items."""
        assert self.negatives is not None
        return sampled_cross_entropy(factors, labels, self.negatives)


def scores(factors: Factors) -> Tensor:
    """Scores of every item, (G, N + 1); column 0 is -inf."""
    n_rows = len(factors.items[0])
    found = _sum(_products(factors.users, factors.items, slice(0, n_rows)), factors.weights, slice(0, n_rows))
    return found.index_fill(1, torch.zeros(1, dtype=torch.long, device=found.device), float("-inf"))


def cross_entropy(factors: Factors, labels: Tensor, memory: int) -> Tensor:
    """Exact softmax cross-entropy: of one factor in one pass over few targets at a time; of several plain where the
    (G, N) arrays fit into `memory`, else in chunks of items that fit.

    Args:
        factors: of G targets.
        labels: item of each target, (G,), 1..N.
        memory: bytes.
    """
    if factors.weights is None and len(factors.items) == 1:
        return softmax.cross_entropy(factors.users[0], factors.items[0], labels, may_round=False)
    chunk = memory // (_COPIES * _FLOAT * max(1, len(labels)))
    if chunk >= len(factors.items[0]):
        return F.cross_entropy(scores(factors), labels, reduction="sum")
    return chunked_cross_entropy(factors, labels, max(1, chunk))


def chunked_cross_entropy(factors: Factors, labels: Tensor, chunk: int) -> Tensor:
    """The plain loss and its gradients, with no more than (G, `chunk`) scores at a time."""
    result: Tensor = _Chunked.apply(labels, chunk, factors.weights, len(factors.users), *factors.users, *factors.items)
    return result


def sampled_cross_entropy(factors: Factors, labels: Tensor, negatives: Negatives) -> Tensor:
    """Softmax over the target and sampled items, each corrected by how often it was to be expected (logQ).

    The sum over the negatives estimates the partition function without bias: the target itself enters uncorrected, and
    a negative that happens to be the target is left out (Bengio and Senecal 2003, "Quick training of probabilistic
    neural nets by importance sampling"). The logarithm of it remains biased.

    Args:
        factors: of G targets; their items are the targets' own, (G,), and behind them the negatives, (S,).
        labels: item of each target, (G,), 1..N.
        negatives: S of them.
    """
    users, items, weights = factors
    targets = len(labels)
    own = torch.stack(
        [(user * item[:targets]).sum(1) for user, item in zip(users, items, strict=True)], dim=1
    )  # (G, M)
    wanted = own.sum(1) if weights is None else (own * weights[:targets]).sum(1)
    others = _sum(_products(users, items, slice(targets, None)), weights, slice(targets, None))
    others = others - negatives.log_expected  # (G, S)
    others = others.masked_fill(labels.unsqueeze(1) == negatives.items, float("-inf"))
    everything = torch.cat([wanted.unsqueeze(1), others], dim=1)  # (G, 1 + S)
    return (everything.logsumexp(1) - wanted).sum()


class NegativeSampler:
    """Draws items 1..N with probability q_i ~ (1 + training frequency)^0.75.

    Args:
        frequency: training interactions of each item, (N + 1,).
        count: S, items per draw.
    """

    def __init__(self, frequency: NDArray[np.int64], count: int) -> None:
        weight = (1.0 + frequency[1:]) ** 0.75
        self.probability = weight / weight.sum()
        self._cumulated = np.cumsum(self.probability)
        self.count = count

    def draw(self, seed: tuple[int, ...], device: torch.device) -> Negatives:
        """The negatives of one step, fixed by `seed`."""
        uniform = np.random.default_rng(seed).random(self.count)
        found = np.minimum(np.searchsorted(self._cumulated, uniform, side="right"), len(self.probability) - 1)
        expected = np.log(self.count * self.probability[found])
        return Negatives(
            torch.from_numpy(found + 1).to(device), torch.from_numpy(expected.astype(np.float32)).to(device)
        )


class _Chunked(torch.autograd.Function):
    """Two passes over the items: the partition function, then the gradients from recomputed scores."""

    @staticmethod
    def forward(ctx: Any, labels: Tensor, chunk: int, weights: Tensor | None, m: int, *factors: Tensor) -> Tensor:
        users, items = factors[:m], factors[m:]
        partition = users[0].new_full((len(labels),), float("-inf"))
        wanted = torch.zeros_like(partition)
        for piece in _pieces(len(items[0]), chunk):
            found = _sum(_products(users, items, piece), weights, piece)
            partition = torch.logaddexp(partition, found.logsumexp(1))
            here, column = _inside(labels, piece)
            wanted[here] = found[here, column]
        ctx.save_for_backward(labels, partition, *factors)
        ctx.weights, ctx.chunk, ctx.m = weights, chunk, m
        return (partition - wanted).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        labels, partition, *factors = ctx.saved_tensors
        users, items, weights = factors[: ctx.m], factors[ctx.m :], ctx.weights
        of_users = [torch.zeros_like(user) for user in users]
        trained = ctx.needs_input_grad[4 + ctx.m :]
        of_items = [torch.zeros_like(item) if needed else None for item, needed in zip(items, trained, strict=True)]
        of_weights = None if weights is None else torch.zeros_like(weights)
        for piece in _pieces(len(items[0]), ctx.chunk):
            products = _products(users, items, piece)
            slope = (_sum(products, weights, piece) - partition.unsqueeze(1)).exp_()  # (G, chunk) probabilities
            here, column = _inside(labels, piece)
            slope[here, column] -= 1
            slope *= gradient
            for m, product in enumerate(products):
                if weights is not None and of_weights is not None:
                    of_weights[piece, m] = (slope * product).sum(0)
                scaled = slope if weights is None else slope * weights[piece, m]
                of_users[m] += scaled @ items[m][piece]
                table = of_items[m]
                if table is not None:
                    table[piece] = scaled.T @ users[m]
        return (None, None, of_weights, None, *of_users, *of_items)


def _products(users: Any, items: Any, piece: slice) -> list[Tensor]:
    return [user @ item[piece].T for user, item in zip(users, items, strict=True)]


def _sum(products: list[Tensor], weights: Tensor | None, piece: slice) -> Tensor:
    """Weighted sum of the modalities' products, (G, I)."""
    total = products[0] if weights is None else weights[piece, 0] * products[0]
    for m, product in enumerate(products[1:], start=1):
        total = total + (product if weights is None else weights[piece, m] * product)
    return total


def _pieces(n_rows: int, chunk: int) -> Iterator[slice]:
    """Slices over items 1..N."""
    for start in range(1, n_rows, chunk):
        yield slice(start, min(start + chunk, n_rows))


def _inside(labels: Tensor, piece: slice) -> tuple[Tensor, Tensor]:
    """Which targets' items lie in the piece, and in which of its columns."""
    here = torch.nonzero((labels >= piece.start) & (labels < piece.stop)).squeeze(1)
    return here, labels[here] - piece.start
