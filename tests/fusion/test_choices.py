"""What users chose among: all items where they fit, else a sample that stands for them without bias."""

import numpy as np
import pytest
import torch

from mmesid.artifacts.values import Embedding, FusionRule, SemanticIds, Sequences
from mmesid.config import Fuse
from mmesid.fusion import choices as module
from mmesid.fusion.choices import Choices, Users, gather
from mmesid.fusion.evidence import EVIDENCE, Held, network
from mmesid.fusion.fitting import cross_entropy, fit
from mmesid.fusion.fusing import build_tables

KINDS = ["popularity", "transitions", "text"]
BOUNDS = [0, 4, 8]


@pytest.fixture
def held(sequences: Sequences, encoded: tuple[dict[str, Embedding], SemanticIds], settings: Fuse) -> Held:
    return Held(build_tables(sequences, *encoded, settings), FusionRule(6))


@pytest.fixture
def users(sequences: Sequences) -> Users:
    return Users(sequences.history("valid"), sequences.target("valid"))


def gathered(users: Users, held: Held, exclude_history: bool = True, memory: int = 100, seed: int = 0) -> Choices:
    return gather(users, {}, held, KINDS, BOUNDS, exclude_history, memory, seed)


def test_all_items_with_their_evidence_where_they_fit(users: Users, held: Held) -> None:
    found = gathered(users, held)
    assert list(found.evidence) == list(found.targets) == KINDS
    assert found.offsets.shape == (len(users.targets), held.n_items)
    frequency = held.frequency[1:]
    expected = torch.bucketize(frequency, torch.tensor(BOUNDS), right=True) - 1
    assert found.bins.tolist() == expected.sort().values.tolist()
    order = expected.argsort(stable=True)
    for name in KINDS:
        every = EVIDENCE[name](held, held.recent(users.histories))
        torch.testing.assert_close(found.evidence[name], every[:, 1:][:, order])
        rows = torch.arange(len(users.targets))
        torch.testing.assert_close(found.targets[name], every[rows, torch.from_numpy(users.targets)])


def test_networks_stand_beside_the_evidence_by_their_models(users: Users, held: Held) -> None:
    scores = torch.randn(len(users.targets), held.n_items + 1, generator=torch.Generator().manual_seed(0))
    place = {tuple(history): row for row, history in enumerate(users.histories)}
    by_history = {"mine": lambda histories: scores[[place[tuple(history)] for history in histories]]}
    found = gather(users, by_history, held, ["text"], BOUNDS, True, 100, 0)
    assert list(found.evidence) == ["mine", "text"]
    rows = [place[tuple(history)] for history in users.histories]
    expected = network(scores[rows])[torch.arange(len(rows)), torch.from_numpy(users.targets)]
    torch.testing.assert_close(found.targets["mine"], expected)


@pytest.mark.parametrize("exclude_history", [True, False])
def test_histories_are_no_choices_but_a_repeated_target_is(held: Held, exclude_history: bool) -> None:
    repeat = Users([np.array([1, 2, 3]), np.array([4, 5])], np.array([2, 9]))
    found = gathered(repeat, held, exclude_history)
    taken = [2, 2] if exclude_history else [0, 0]  # items 1 and 3 of the first user: its target is 2
    assert (found.offsets == -torch.inf).sum(dim=1).tolist() == taken
    assert set(found.offsets.unique().tolist()) <= {0.0, -torch.inf}


def sampled(monkeypatch: pytest.MonkeyPatch, users: Users, held: Held, seed: int = 0) -> Choices:
    monkeypatch.setattr(module, "_MIB", 4 * (len(KINDS) + 1) * len(users.targets) * 20)  # 20 of 30 items
    return gathered(users, held, memory=1, seed=seed)


def test_a_sample_holds_the_target_once_and_keeps_its_size(
    users: Users, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sampled(monkeypatch, users, held)
    assert found.offsets.shape[1] < held.n_items
    same = found.bins == found.target_bins[:, None]
    for name in KINDS:
        same &= found.evidence[name] == found.targets[name][:, None]
    assert (same & (found.offsets == 0)).any(dim=1).all()
    again = sampled(monkeypatch, users, held)
    assert torch.equal(found.offsets, again.offsets)
    assert all(torch.equal(found.evidence[name], again.evidence[name]) for name in KINDS)


def test_a_sample_stands_for_all_items_without_bias(users: Users, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    table = torch.tensor([[0.3, 0.2, 0.5], [0.4, 0.9, 0.7], [0.2, 0.1, 0.6]], dtype=torch.float64)

    def partition(found: Choices) -> torch.Tensor:
        weights = table[:, found.bins].float()
        scores = sum(found.evidence[name] * weight for name, weight in zip(KINDS, weights, strict=True))
        return (scores + found.offsets).exp().sum(dim=1)

    whole = partition(gathered(users, held))
    draws = torch.stack([partition(sampled(monkeypatch, users, held, seed)) for seed in range(300)])
    error = (draws.mean(0) - whole) / (draws.std(0) / 300**0.5).clamp_min(1e-6 * whole)
    assert error.abs().max() < 4.5
    assert draws.std(0).max() > 0


def test_the_sampled_fit_is_near_the_full_one(users: Users, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    full, part = gathered(users, held), sampled(monkeypatch, users, held)
    losses = []
    for found in (full, part):
        weights = fit(found, None, KINDS, len(BOUNDS), 1.0, 30.0).weights
        table = torch.tensor(list(weights.evidence.values()), dtype=torch.float64)
        losses.append(cross_entropy(full, KINDS, table)[0] / len(users.targets))
    assert losses[1] == pytest.approx(losses[0], abs=0.01)
