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


def fit(choices: Choices, model: str | None, kinds: Sequence[str], bins: int, ridge: float, smoothing: float) -> Fitted:
    """Minimize sum_u -log p(target_u) + ridge / 2 |w - w0|^2 + smoothing / 2 sum_kb (w_kb - mean_b w_kb)^2.

    w0 is the network alone: a = 1, all else 0. Where few users have rare targets, the bins of rare items would fit
    their luck; smoothing lets them differ from the others only as far as users bear it out.

    Args:
        choices: of the users.
        model: whose network's evidence is among the choices', with one weight for all bins; None for no network.
        kinds: of evidence.
        bins: of training interactions; each has its own weight of each kind.
        ridge: of the pull toward w0, in users.
        smoothing: of the pull of a kind's weights toward their mean over the bins, in users.
    """
    names, neural = ([model] if model else []) + list(kinds), int(model is not None)
    start = torch.zeros(neural + len(kinds) * bins, dtype=torch.float64)
    start[:neural] = 1
    found = start.clone().requires_grad_()
    users = max(len(choices.target_bins), 1)

    def loss_of(weights: Tensor) -> tuple[float, Tensor]:
        loss, gradient = cross_entropy(choices, names, _table(weights, bins, neural))
        pull, by_kind = weights - start, weights[neural:].view(len(kinds), bins)
        apart = torch.cat([weights.new_zeros(neural), (by_kind - by_kind.mean(dim=1, keepdim=True)).flatten()])
        flat = torch.cat([gradient[:neural].sum(dim=1), gradient[neural:].flatten()])
        penalty = ridge / 2 * float(pull @ pull) + smoothing / 2 * float(apart @ apart)
        return (loss + penalty) / users, (flat + ridge * pull + smoothing * apart) / users

    def closure() -> float:
        loss, found.grad = loss_of(found.detach())
        return loss

    optimizer = torch.optim.LBFGS(
        [found], max_iter=ITERATIONS, tolerance_grad=TOLERANCE, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )
    optimizer.step(closure)  # type: ignore[no-untyped-call]
    tables = [_table(weights, bins, neural) for weights in (start, found.detach())]
    before, after = (cross_entropy(choices, names, table)[0] / users for table in tables)
    network = float(found[0].detach()) if model else None
    rows = found.detach()[neural:].view(len(kinds), bins).tolist()
    return Fitted(FusionWeights(network, dict(zip(kinds, rows, strict=True))), before, after)


def cross_entropy(choices: Choices, names: Sequence[str], table: Tensor) -> tuple[float, Tensor]:
    """The sum over users of -log p(target), and its gradient.

    Args:
        choices: of B users.
        names: of the K kinds of evidence that count.
        table: (K, bins) weights.

    Returns:
        The loss in nats, and (K, bins) float64.
    """
    weights = table[:, choices.bins].float()  # (K, C)
    taken = torch.stack([choices.targets[name] for name in names]).double()  # (K, B)
    loss = -float((taken * table[:, choices.target_bins]).sum())
    by_column = torch.zeros(weights.shape, dtype=torch.float64)
    step = max(1, CHUNK // max(weights.shape[1], 1))
    for start in range(0, len(choices.offsets), step):
        users = slice(start, start + step)
        scores = choices.offsets[users].clone()  # (c, C)
        for name, weight in zip(names, weights, strict=True):
            scores.addcmul_(choices.evidence[name][users], weight)
        total = scores.logsumexp(dim=1, keepdim=True)
        loss += float(total.double().sum())
        chances = scores.sub_(total).exp_()
        for kind, name in enumerate(names):
            by_column[kind] += torch.linalg.vecdot(choices.evidence[name][users], chances, dim=0)
    gradient = torch.zeros(table.shape, dtype=torch.float64).index_add_(1, choices.bins, by_column)
    return loss, gradient.index_add_(1, choices.target_bins, -taken)


def _table(weights: Tensor, bins: int, neural: int) -> Tensor:
    """(K, bins); the network's one weight stands in every bin."""
    return torch.cat([weights[:neural].repeat(bins), weights[neural:]]).view(-1, bins)
