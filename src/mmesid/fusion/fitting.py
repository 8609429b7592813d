"""The weights of late fusion: L-BFGS on the cross-entropy over all items, of users held out of training.

The loss is convex in the weights: a few numbers, no step size, no early stopping. The users are those that select
checkpoints, never those that the promotion gate judges.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmesid.artifacts.values import FusionWeights
from mmesid.fusion.choices import Choices

ITERATIONS = 200  # of L-BFGS, at most
TOLERANCE = 1e-5  # of the gradient of the mean loss: the third decimal of a weight
CHUNK = 2**20  # scores at a time: they stay in the processor's cache


class Fitted(NamedTuple):
    """Weights, and the mean cross-entropy in nats of the users before (the network alone) and after."""

    weights: FusionWeights
    loss_before: float
    loss: float


def fit(choices: Choices, kinds: Sequence[str], bins: int, neural: int, ridge: float) -> Fitted:
    """Minimize sum_u -log p(target_u) + ridge / 2 |w - w0|^2, where w0 is the network alone: a = 1, all else 0.

    Args:
        choices: of the users.
        kinds: of evidence, in the order of the choices, without the network.
        bins: of training interactions; each has its own weight of each kind.
        neural: how many of the choices' first kinds are a network's, 0 or 1; it has one weight for all bins.
        ridge: of the pull, in users.
    """
    start = torch.zeros(neural + len(kinds) * bins, dtype=torch.float64)
    start[:neural] = 1
    found = start.clone().requires_grad_()
    users = max(len(choices.target_bins), 1)

    def loss_of(weights: Tensor) -> tuple[float, Tensor]:
        loss, gradient = cross_entropy(choices, _table(weights, bins, neural))
        pull = weights - start
        flat = torch.cat([gradient[:neural].sum(dim=1), gradient[neural:].flatten()])
        return (loss + ridge / 2 * float(pull @ pull)) / users, (flat + ridge * pull) / users

    def closure() -> float:
        loss, found.grad = loss_of(found.detach())
        return loss

    optimizer = torch.optim.LBFGS(
        [found], max_iter=ITERATIONS, tolerance_grad=TOLERANCE, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )
    optimizer.step(closure)  # type: ignore[no-untyped-call]
    before, after = (cross_entropy(choices, _table(w, bins, neural))[0] / users for w in (start, found.detach()))
    return Fitted(_named(found.detach(), kinds, bins, neural), before, after)


def cross_entropy(choices: Choices, table: Tensor) -> tuple[float, Tensor]:
    """The sum over users of -log p(target), and its gradient.

    Args:
        choices: of B users, K kinds of evidence.
        table: (K, bins) weights.

    Returns:
        The loss in nats, and (K, bins) float64.
    """
    weights = table[:, choices.bins].float()  # (K, C)
    by_target = table[:, choices.target_bins]  # (K, B)
    loss, by_column = -float((choices.targets * by_target).sum()), torch.zeros(weights.shape, dtype=torch.float64)
    step = max(1, CHUNK // max(weights.shape[1], 1))
    for start in range(0, len(choices.offsets), step):
        users = slice(start, start + step)
        scores = choices.offsets[users].clone()  # (c, C)
        for evidence, weight in zip(choices.evidence, weights, strict=True):
            scores.addcmul_(evidence[users], weight)
        total = scores.logsumexp(dim=1, keepdim=True)
        loss += float(total.double().sum())
        chances = scores.sub_(total).exp_()
        for kind, evidence in enumerate(choices.evidence):
            by_column[kind] += torch.linalg.vecdot(evidence[users], chances, dim=0)
    gradient = torch.zeros(table.shape, dtype=torch.float64).index_add_(1, choices.bins, by_column)
    return loss, gradient.index_add_(1, choices.target_bins, -choices.targets.double())


def _table(weights: Tensor, bins: int, neural: int) -> Tensor:
    """(K, bins); the network's one weight stands in every bin."""
    return torch.cat([weights[:neural].repeat(bins), weights[neural:]]).view(-1, bins)


def _named(weights: Tensor, kinds: Sequence[str], bins: int, neural: int) -> FusionWeights:
    rows = weights[neural:].view(len(kinds), bins).tolist()
    return FusionWeights(float(weights[0]) if neural else None, dict(zip(kinds, rows, strict=True)))
