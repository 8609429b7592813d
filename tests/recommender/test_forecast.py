"""One trial says what fine-tuning costs, changes nothing, and stops what cannot end in time."""

import time

import pytest
import torch

from mmesid.errors import ConfigError
from mmesid.recommender import forecast
from mmesid.recommender.batching import trial_batch
from mmesid.recommender.forecast import Forecast, check_hours, foretell
from mmesid.recommender.training import Trainer

from . import tiny_recommender as tiny


@pytest.fixture
def trainer(embeddings, semantic_ids, sequences, finetune_settings):
    def fresh(**changes):
        model = tiny.tiny_model(embeddings, semantic_ids, sequences, tiny.init_settings("tied"))
        settings = finetune_settings.model_copy(update=changes)
        return Trainer(model, sequences, settings, tiny.protocol(), 0, lambda metrics, step: None)

    return fresh


def test_a_trial_leaves_no_trace(trainer):
    tried, untried = trainer(), trainer()
    foretell(tried, time.perf_counter)
    assert all(parameter.grad is None for parameter in tried.parameters.values())
    windows = tried.windows[:20]
    assert torch.equal(tried.step(windows), untried.step(windows))
    for name, parameter in tried.parameters.items():
        assert torch.equal(parameter, untried.parameters[name]), name


@pytest.mark.parametrize(
    "seconds", [[0.5, 3.0], [11.0]], ids=["a whole batch is tried", "a whole batch takes too long"]
)
def test_time_is_foretold_for_the_epochs_that_are_left(trainer, seconds):
    found = trainer(targets_per_step=2000)
    found.trial = found.trial._replace(rows=found.trial.rows[:1])
    found.state = found.state._replace(epoch=1)
    tried = found.trial
    if len(seconds) > 1:
        tokens = found.settings.batch_tokens
        tried = trial_batch(found.windows, found.settings, found.model.blueprint.prompt, found.seed, tokens)
        assert len(tried.rows) > len(found.trial.rows)
    clock = iter([time for each in seconds for time in (10.0, 10.0 + each)])
    said = foretell(found, clock.__next__)
    assert next(clock, None) is None
    targets = [sum(len(window.labels) for row in rows for window in row) for rows in (tried.rows, [found.windows])]
    assert said.seconds_per_epoch == pytest.approx(seconds[-1] / targets[0] * targets[1])
    assert said.epochs == found.settings.epochs - 1
    assert said.hours == pytest.approx(said.seconds_per_epoch * said.epochs / 3600)


def test_a_forward_pass_takes_no_more_tokens_than_memory_holds(trainer, monkeypatch):
    found = trainer()
    monkeypatch.setattr(forecast, "_memory", lambda device: 1000)
    monkeypatch.setattr(forecast, "_peak", lambda device: 1000 + 10**6)
    for free, expected in ((10**12, found.settings.batch_tokens), (0, found.settings.row_tokens)):
        monkeypatch.setattr(forecast, "_free", lambda device, free=free: free)
        assert foretell(found, time.perf_counter).batch_tokens == expected


def test_what_is_measured_here_is_a_number(trainer):
    said = foretell(trainer(), time.perf_counter)
    assert 0 < said.seconds_per_epoch < 60
    assert 0 <= said.bytes_per_token < 10**7
    assert "an epoch" in said.describe()


def test_what_cannot_end_in_time_names_the_keys():
    slow = Forecast(3600.0, 10, 2_000_000.0, 4096)
    check_hours(slow, None)
    check_hours(slow, 10.5)
    with pytest.raises(ConfigError, match=r"max_hours is 2, .*10\.0 h for 10 epochs.*8\.2 GB.*init_codes\.layers"):
        check_hours(slow, 2)
