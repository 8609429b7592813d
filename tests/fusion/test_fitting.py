"""The weights: planted ones are found again, and the gradient is the loss's."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mmesid.fusion.choices import Choices
from mmesid.fusion.fitting import cross_entropy, fit

BINS, ITEMS = 3, 40
ALL = ["network", "a", "b"]
KINDS = ALL[1:]
PLANTED = torch.tensor([[0.6, 0.6, 0.6], [1.2, 0.5, -0.3], [0.0, 0.8, 1.5]], dtype=torch.float64)


def drawn(users: int, planted: Tensor, seed: int = 0) -> Choices:
    """Users who chose by the planted weights."""
    generator = torch.Generator().manual_seed(seed)
    evidence = torch.randn(len(planted), users, ITEMS, generator=generator)
    bins = torch.arange(ITEMS) % BINS
    scores = (evidence * planted[:, bins][:, None]).sum(0)
    chosen = scores.double().softmax(1).multinomial(1, generator=generator)[:, 0]
    targets = evidence[:, torch.arange(users), chosen]
    names = ALL[-len(planted) :]
    by_name, taken = dict(zip(names, evidence, strict=True)), dict(zip(names, targets, strict=True))
    return Choices(by_name, taken, torch.zeros(users, ITEMS), bins, bins[chosen])


def test_planted_weights_are_found() -> None:
    found = fit(drawn(6000, PLANTED), "network", KINDS, BINS, ridge=1.0, smoothing=0.0)
    assert found.weights.network == pytest.approx(0.6, abs=0.05)
    np.testing.assert_allclose(list(found.weights.evidence.values()), PLANTED[1:].numpy(), atol=0.1)
    assert list(found.weights.evidence) == KINDS
    assert found.loss < found.loss_before


def test_the_gradient_is_that_of_the_loss() -> None:
    choices = drawn(30, PLANTED)
    choices.offsets[:, 5] = -torch.inf
    choices.offsets[:, 6] = 1.3
    table = (PLANTED * 0.7).requires_grad_()
    columns, mine = table[:, choices.bins], table[:, choices.target_bins]
    evidence, targets = (torch.stack(list(part.values())).double() for part in (choices.evidence, choices.targets))
    scores = (evidence * columns[:, None]).sum(0) + choices.offsets
    loss = (scores.logsumexp(1) - (targets * mine).sum(0)).sum()
    loss.backward()
    found, gradient = cross_entropy(choices, ALL, table.detach())
    assert found == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(gradient, table.grad, atol=1e-3, rtol=1e-4)


def test_few_users_move_little_and_none_leave_the_network_alone() -> None:
    nobody = fit(drawn(0, PLANTED), "network", KINDS, BINS, ridge=1.0, smoothing=0.0).weights
    assert nobody.network == 1
    assert all(weight == 0 for row in nobody.evidence.values() for weight in row)
    few = fit(drawn(5, PLANTED), "network", KINDS, BINS, ridge=10.0, smoothing=0.0).weights
    assert abs(few.network - 1) < 0.5
    assert all(abs(weight) < 0.5 for row in few.evidence.values() for weight in row)


def test_evidence_that_says_nothing_stays_near_zero() -> None:
    planted = PLANTED.clone()
    planted[2] = 0
    found = fit(drawn(4000, planted), "network", KINDS, BINS, ridge=1.0, smoothing=0.0).weights
    assert max(map(abs, found.evidence["b"])) < 0.1


def test_without_a_network_there_is_no_weight_of_one() -> None:
    found = fit(drawn(500, PLANTED[1:]), None, KINDS, BINS, ridge=1.0, smoothing=0.0)
    assert found.weights.network is None
    assert found.loss_before == pytest.approx(np.log(ITEMS), rel=1e-6)


def test_smoothing_holds_the_bins_of_few_users_together_and_lets_many_differ() -> None:
    def spread(users: int, smoothing: float) -> float:
        found = fit(drawn(users, PLANTED), "network", KINDS, BINS, ridge=1.0, smoothing=smoothing).weights
        return float(np.ptp(list(found.evidence.values()), axis=1).max())

    assert spread(40, 30.0) < 0.5 * spread(40, 0.0)
    assert spread(6000, 30.0) == pytest.approx(1.5, abs=0.15)


def test_endless_smoothing_is_one_bin() -> None:
    choices = drawn(300, PLANTED)
    apart = fit(choices, "network", KINDS, BINS, ridge=1e-6, smoothing=1e9).weights
    one = choices._replace(bins=torch.zeros_like(choices.bins), target_bins=torch.zeros_like(choices.target_bins))
    together = fit(one, "network", KINDS, 1, ridge=1e-6, smoothing=0.0).weights
    assert apart.network == pytest.approx(together.network, abs=0.01)
    for name, (weight,) in together.evidence.items():
        np.testing.assert_allclose(apart.evidence[name], weight, atol=0.01)
