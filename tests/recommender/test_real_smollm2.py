"""The packaged SmolLM2, 6 of its 30 layers: packed exactly, starts at chance, and answers the same once it is saved.

Skipped where it is not installed. It takes 48 s of a core.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmesid.recommender import loading, pretrained
from mmesid.recommender.building import build
from mmesid.recommender.compatibility import check_packing, check_window
from mmesid.recommender.diagnostics import ABOVE_CHANCE, complaints
from mmesid.recommender.loss import Objective
from mmesid.recommender.packing import pack_rows
from mmesid.recommender.prompt import build_prompt
from mmesid.recommender.training import Trainer

from . import tiny_recommender as world

pytestmark = pytest.mark.nightly
WIDTH = 576


def test_it_is_packed_exactly_starts_at_chance_and_answers_the_same_once_saved(
    real_weights: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_weights("smollm2")
    monkeypatch.setattr(world, "N_ITEMS", 1000)
    settings = world.init_settings("tied").model_copy(update={"backbone": "smollm2", "layers": 6, "dtype": "float32"})
    backbone = pretrained.load(settings, "cpu", 0)
    assert (backbone.model.config.hidden_size, len(backbone.model.layers)) == (WIDTH, 6)
    assert backbone.input_scale == pytest.approx(0.122, abs=0.001)
    prompt = build_prompt(backbone.tokenizer, settings.system_prompt, settings.user_prompt, settings.response)
    assert backbone.tokenizer.decode(prompt.before).startswith("<|im_start|>system\n")
    check_window(backbone, prompt, world.HISTORY)
    check_packing(backbone, prompt)

    items, sequences = world.embeddings(), world.sequences()
    ids, frequency = world.semantic_ids(items), sequences.train_frequency()
    model = build(backbone, items, ids, frequency, settings, world.HISTORY, seed=0)
    loading.save_initial(tmp_path, model, backbone, own=pretrained.is_kept(settings))
    chosen = world.finetune_settings().model_copy(update={"adapter": "frozen", "epochs": 40, "warmup_steps": 50})
    trainer = Trainer(model, sequences, chosen, world.protocol(), 0, lambda metrics, step: None)
    start = trainer.begin()
    assert start["full_size_loss"] < start["chance"] + ABOVE_CHANCE
    assert complaints(start) == []

    batch = pack_rows(trainer.trial.rows[:1], model.blueprint.prompt)
    model.items.soften(1.0)
    again = loading.load_initial(tmp_path, "cpu")
    with torch.no_grad():
        before, after = (each(batch, Objective(2**30, None)).item() for each in (model.eval(), again))
    assert after == pytest.approx(before, rel=1e-6)
