"""One trial says what fine-tuning costs, changes nothing, and stops what cannot end in time."""

import time

import pytest
import torch

from mmesid.errors import ConfigError
from mmesid.recommender import forecast
from mmesid.recommender.forecast import Forecast, check_hours, foretell
from mmesid.recommender.training import Trainer

from . import tiny_recommender as tiny


@pytest.fixture
def trainer(embeddings, semantic_ids, sequences, finetune_settings):
    def fresh():
        model = tiny.tiny_model(embeddings, semantic_ids, sequences, tiny.init_settings("tied"))
        return Trainer(model, sequences, finetune_settings, tiny.protocol(), 0, lambda metrics, step: None)

    return fresh


def test_a_trial_leaves_no_trace(trainer):
    tried, untried = trainer(), trainer()
    foretell(tried, time.perf_counter)
    assert all(parameter.grad is None for parameter in tried.parameters.values())
    windows = tried.windows[:20]
    assert torch.equal(tried.step(windows), untried.step(windows))
    for name, parameter in tried.parameters.items():
        assert torch.equal(parameter, untried.parameters[name]), name


def test_time_is_foretold_for_the_epochs_that_are_left(trainer, monkeypatch):
    clock = iter([10.0, 12.0])
    found = trainer()
    found.state = found.state._replace(epoch=1)
    said = foretell(found, clock.__next__)
    assert said.epochs == found.settings.epochs - 1
    assert said.seconds_per_epoch >= 2.0  # an epoch is one trial or more
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
