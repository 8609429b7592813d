"""What is seen before the first step, and who moves: measured once, kept over a resume, silent where all is well."""

import math

import pytest
import torch

from mmesid.recommender.diagnostics import complaints
from mmesid.recommender.training import Trainer

from . import tiny_recommender as tiny

FINE = {
    "first_loss": 6.91,
    "full_size_loss": 6.95,
    "chance": 6.9,
    "input_rms": 0.12,
    "word_rms": 0.14,
    "hidden_rms": 1.8,
}


@pytest.fixture
def trainer(embeddings, semantic_ids, sequences, finetune_settings):
    model = tiny.tiny_model(embeddings, semantic_ids, sequences, tiny.init_settings("tied"))
    return Trainer(model, sequences, finetune_settings, tiny.protocol(), 0, lambda metrics, step: None)


def test_the_start_is_measured_once_and_changes_nothing(trainer):
    before = {name: parameter.clone() for name, parameter in trainer.parameters.items()}
    drawn = torch.get_rng_state()
    start = trainer.begin()
    assert torch.equal(torch.get_rng_state(), drawn)
    assert start["chance"] == pytest.approx(math.log(tiny.N_ITEMS))
    assert start["full_size_loss"] > start["first_loss"] > 0
    assert start["input_rms"] == pytest.approx(tiny.INPUT_SCALE, rel=0.01)
    assert start["word_rms"] > 0
    assert start["hidden_rms"] > 0
    assert all(torch.equal(parameter, before[name]) for name, parameter in trainer.parameters.items())
    trainer.step(trainer.windows[:20])
    assert trainer.begin() == start


def test_shares_of_the_update_sum_to_one(trainer):
    curves = trainer.fit(lambda state: None)
    epochs = [row for row in curves if "epoch" in row]
    for row in epochs:
        shares = [row[f"update_{part}"] for part in ("adapter", "adaptors", "tables")]
        assert sum(shares) == pytest.approx(1.0)
        assert min(shares) > 0
        assert row["input_rms"] > 0
    assert curves[0]["step"] == 0
    assert "first_loss" not in curves[1]


def test_nothing_is_said_where_all_is_well():
    assert complaints(FINE) == []
    assert complaints({}) == []


def test_a_loss_above_chance_names_the_key():
    (said,) = complaints({**FINE, "full_size_loss": 19.5})
    assert "first loss, scores at full size, is 19.50, chance is 6.90" in said
    assert "init_codes.temperature" in said


@pytest.mark.parametrize("size", [0.03, 1.0])
def test_items_of_another_size_than_words_are_named(size):
    (said,) = complaints({**FINE, "input_rms": size})
    assert f"root mean square of {size:g}, the prompt's words with 0.14" in said
    assert "init_codes.items: tied" in said
