"""Fine-tuning learns a planted pattern, keeps its best epoch, and a killed run continues exactly."""

import copy
import itertools
from functools import partialmethod

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from mmesid.artifacts.values import Sequences
from mmesid.artifacts.windows import training_windows
from mmesid.evaluation.metrics import ndcg
from mmesid.evaluation.ranking import judge
from mmesid.recommender import parallel
from mmesid.recommender.adapter import ADAPTERS, adapter_tensors, load_adapter
from mmesid.recommender.batching import plan_epoch
from mmesid.recommender.inference import Scorer
from mmesid.recommender.optimizer import learning_rate_factor
from mmesid.recommender.training import Trainer

from . import tiny_recommender as tiny


class KilledError(Exception):
    """Stands for a SIGKILL between two steps."""


def _silent(metrics, step):
    assert all(np.isfinite(value) for value in metrics.values()), step


def _fresh(model, sequences, settings, protocol=None):
    return Trainer(model, sequences, settings, protocol or tiny.protocol(), 0, _silent)


def _ranks(model, histories, targets):
    return judge(Scorer(model), histories, targets, exclude_history=True, batch_users=64).ranks


@pytest.fixture(autouse=True)
def _fresh_processes():
    """`accelerate` keeps the first precision that it was given for the life of the process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def ring() -> Sequences:
    """Item i is followed by item i + 1; nothing else happens."""
    starts = np.random.default_rng(0).integers(0, 40, 150)
    return Sequences([f"u{i}" for i in range(150)], [(start + np.arange(7)) % 40 + 1 for start in starts], 40)


@pytest.mark.parametrize("adapter", sorted(set(ADAPTERS) - {"frozen"}))
def test_a_planted_pattern_is_found(adapter, model, ring, finetune_settings):
    """Chance is an nDCG@10 near 0.11 (10 of 40 items, the gain averaged over ranks)."""
    settings = finetune_settings.model_copy(
        update={"adapter": adapter, "epochs": 8, "learning_rate": 0.01, "table_learning_rate": 0.02}
    )
    trainer = _fresh(model, ring, settings)
    curves = trainer.fit(lambda state: None)
    ranks = _ranks(model, ring.history("test"), ring.target("test"))
    assert ndcg(ranks, 10).mean() > 0.6
    assert max(row["valid_ndcg_at_10"] for row in curves if "epoch" in row) == trainer.state.best
    assert model.blueprint.adapter == adapter


def test_of_a_frozen_backbone_only_what_stands_around_it_learns(model, ring, finetune_settings):
    settings = finetune_settings.model_copy(update={"adapter": "frozen", "learning_rate": 0.01})
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    _fresh(model, ring, settings).fit(lambda state: None)
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed
    assert not [name for name in changed if name.startswith("backbone.")]
    assert adapter_tensors(model.backbone) == {}


@pytest.mark.parametrize("save_number", [1, 3])
def test_a_killed_run_continues_exactly(save_number, model, sequences, finetune_settings):
    settings = finetune_settings.model_copy(update={"checkpoint_steps": 1, "input_dropout": 0.3})
    untouched, killed, resumed = (copy.deepcopy(model) for _ in range(3))
    wanted = _fresh(untouched, sequences, settings)
    wanted.fit(lambda state: None)
    states = []

    def save(state):
        states.append(state._replace(tensors={n: t.clone() for n, t in state.tensors.items()}, curves=[*state.curves]))
        if len(states) == save_number:
            raise KilledError

    with pytest.raises(KilledError):
        _fresh(killed, sequences, settings).fit(save)
    trainer = _fresh(resumed, sequences, settings)
    trainer.resume(states[-1])
    curves = trainer.fit(lambda state: None)
    assert curves == wanted.state.curves
    for (name, found), expected in zip(resumed.state_dict().items(), untouched.state_dict().values(), strict=True):
        assert torch.equal(found, expected), name


@pytest.mark.pipeline
@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
@pytest.mark.parametrize("how", [{"batch_tokens": 48}, {"gradient_checkpointing": True, "batch_tokens": 60}])
def test_the_way_of_computing_changes_no_result(how, adapter, model, sequences, finetune_settings):
    """Several forward passes a step, or recomputed activations: the same losses and the same weights."""
    settings = finetune_settings.model_copy(update={"adapter": adapter})
    other = copy.deepcopy(model)
    wanted = _fresh(model, sequences, settings).fit(lambda state: None)
    found = _fresh(other, sequences, settings.model_copy(update=how)).fit(lambda state: None)
    for row, expected in zip(found, wanted, strict=True):
        assert row == pytest.approx(expected, rel=1e-4)
    for (name, value), expected in zip(other.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.allclose(value.float(), expected.float(), atol=2e-4), name


@pytest.mark.pipeline
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler looks at every input's gradient
def test_a_compiled_backbone_computes_the_same(monkeypatch, model, sequences, finetune_settings):
    """Traced by the compiler, run by PyTorch: no test waits for a C++ compiler."""
    eager = partialmethod(torch.nn.Module.compile, backend="eager")
    monkeypatch.setattr(torch.nn.Module, "compile", eager)
    settings = finetune_settings.model_copy(update={"epochs": 1})
    other = copy.deepcopy(model)
    wanted = _fresh(model, sequences, settings).fit(lambda state: None)
    found = _fresh(other, sequences, settings.model_copy(update={"compile": True})).fit(lambda state: None)
    for row, expected in zip(found, wanted, strict=True):
        assert row == pytest.approx(expected, rel=1e-4)
    assert list(other.state_dict()) == list(model.state_dict())  # what is saved names no compiler


@pytest.mark.pipeline
@pytest.mark.parametrize("how", [{"loss": "sampled", "negatives": 30}, {"precision": "bfloat16"}])
def test_cheaper_ways_learn_as_well(how, model, ring, finetune_settings):
    settings = finetune_settings.model_copy(
        update={"epochs": 8, "learning_rate": 0.01, "table_learning_rate": 0.02, **how}
    )
    accelerator = parallel.make_accelerator("cpu", settings, scores=0)
    trainer = Trainer(model, ring, settings, tiny.protocol(), 0, _silent, accelerator)
    trainer.fit(lambda state: None)
    ranks = _ranks(model, ring.history("test"), ring.target("test"))
    assert ndcg(ranks, 10).mean() > 0.6


def test_the_best_epoch_is_kept(model, sequences, finetune_settings):
    settings = finetune_settings.model_copy(update={"epochs": 4, "patience": 1, "learning_rate": 0.5})
    trainer = _fresh(model, sequences, settings)
    trainer.fit(lambda state: None)
    ranks = _ranks(model, trainer.valid_histories, trainer.valid_targets)
    assert ndcg(ranks, 10).mean() == pytest.approx(trainer.state.best)


def test_epochs_are_judged_under_the_protocol(model, finetune_settings):
    """Users take two items by turns: their next one is an earlier one, and the other a rival unless it is left out."""
    pairs = np.random.default_rng(0).permuted(np.tile(np.arange(1, 41), (60, 1)), axis=1)[:, :2]
    repeats = Sequences([f"u{user}" for user in range(60)], [np.tile(pair, 3) for pair in pairs], 40)
    settings = finetune_settings.model_copy(update={"epochs": 1})
    found = {}
    for exclude_history in (True, False):
        protocol = tiny.protocol().model_copy(update={"exclude_history": exclude_history})
        other = copy.deepcopy(model)
        trainer = _fresh(other, repeats, settings, protocol)
        trainer.fit(lambda state: None)
        judged = judge(Scorer(other), trainer.valid_histories, trainer.valid_targets, exclude_history)
        assert ndcg(judged.ranks, 10).mean() == pytest.approx(trainer.state.best)
        found[exclude_history] = trainer.state
    losses = [[row["loss"] for row in state.curves if "loss" in row] for state in found.values()]
    assert losses[0] == losses[1]
    assert found[True].best > found[False].best


def test_as_many_inputs_as_the_protocol_says_are_trained_on(model, sequences, finetune_settings, protocol):
    shorter = protocol.model_copy(update={"history_length": 3})
    for given in (protocol, shorter):
        trainer = _fresh(copy.deepcopy(model), sequences, finetune_settings, given)
        assert max(len(window.items) for window in trainer.windows) == given.history_length


def test_steps_hold_a_fixed_number_of_targets(sequences, finetune_settings):
    windows = training_windows(sequences.train(), 8)
    plan = plan_epoch(windows, finetune_settings, 0, 0)
    assert sorted(np.concatenate(plan)) == list(range(len(windows)))
    targets = [sum(len(windows[window].labels) for window in step) for step in plan]
    assert all(abs(count - finetune_settings.targets_per_step) <= 8 for count in targets[:-1])


def test_progress_counts_every_target(model, sequences, finetune_settings):
    """Also where each window has more than a step asks for."""
    settings, told = finetune_settings.model_copy(update={"targets_per_step": 1}), []
    trainer = Trainer(model, sequences, settings, tiny.protocol(), 0, lambda metrics, step: told.append(metrics))
    trainer.fit(lambda state: None)
    shown = [(found["progress"], found["targets"]) for found in told if "progress" in found]
    assert shown[0] == (0.0, 0.0)
    assert shown[-1] == (1.0, pytest.approx(settings.epochs * sum(len(each.labels) for each in trainer.windows)))


def test_a_cap_samples_other_windows_in_every_epoch(sequences, finetune_settings):
    windows = training_windows(sequences.train(), 8)
    settings = finetune_settings.model_copy(update={"max_targets_per_epoch": 50})
    first, second = (np.concatenate(plan_epoch(windows, settings, 0, epoch)) for epoch in (0, 1))
    assert 50 <= sum(len(windows[window].labels) for window in first) <= 58
    assert set(first) != set(second)


def test_the_learning_rate_warms_up_and_ends_at_zero():
    factors = [learning_rate_factor(step, 100, 10) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1.0
    assert factors[100] == pytest.approx(0.0)
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))


def test_a_backbone_that_is_kept_rounded_is_trained_and_kept_whole(model, sequences, finetune_settings):
    model.backbone.bfloat16()
    rounded = copy.deepcopy(model.backbone)
    slow = {"adapter": "full", "learning_rate": 1e-6, "adapter_learning_rate": 1e-6, "table_learning_rate": 1e-6}
    trainer = _fresh(model, sequences, finetune_settings.model_copy(update=slow))
    trainer.step(trainer.windows[:4])
    tensors = adapter_tensors(model.backbone)
    moved = "layers.0.self_attn.q_proj.weight"
    assert (tensors[moved] != rounded.state_dict()[moved].float()).float().mean() > 0.9
    again = load_adapter(rounded, tensors, None)
    assert all(torch.equal(weight, tensors[name]) for name, weight in again.state_dict().items())


def test_lora_trains_no_weight_of_the_backbone(model, sequences, finetune_settings):
    trainer = _fresh(model, sequences, finetune_settings)
    inside = [name for name in trainer.parameters if name.startswith("backbone.")]
    assert inside
    assert all("lora_" in name for name in inside)
