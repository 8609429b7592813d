"""Packed training is the one-prefix-at-a-time run: same logits, same gradients; four planted mistakes are noticed."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmesid.artifacts.windows import training_windows
from mmesid.recommender import packing
from mmesid.recommender.adapter import add_lora, train_everything, trainable
from mmesid.recommender.attention import additive_mask, block_mask
from mmesid.recommender.packing import PADDING, first_fit, pack, window_tokens

from . import reference
from . import tiny_recommender as tiny

TOLERANCE = 1e-4


@pytest.fixture(params=["tied", "tied with ids", "table", "table, read at the item"])
def init_settings(request):
    return tiny.init_settings(request.param)


def _relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((found - wanted).norm() / wanted.norm().clamp_min(1e-12)).item()


def _worst(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> float:
    """The worst parameter; one whose gradient is a thousandth of the whole is held to that thousandth (rounding)."""
    floor = 1e-3 * torch.stack([gradient.norm() for gradient in wanted.values()]).norm()
    return max(((found[name] - g).norm() / torch.maximum(g.norm(), floor)).item() for name, g in wanted.items())


def _prepare(adapter, model, settings):
    torch.manual_seed(5)
    if adapter == "none":
        model.backbone.requires_grad_(False)
    elif adapter == "full":
        train_everything(model, settings)
    else:
        modules = ["gate_proj", "up_proj", "down_proj"] if adapter == "mlp" else settings.target_modules
        add_lora(model, settings.model_copy(update={"target_modules": modules}))
        for name, parameter in model.backbone.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    return model.train()


def _loss_and_gradients(model, hidden, labels, score):
    model.zero_grad()
    loss = F.cross_entropy(score(hidden), labels)
    loss.backward()
    return {name: p.grad.clone() for name, p in trainable(model).items() if p.grad is not None}


@pytest.mark.parametrize("adapter", ["none", "mlp", "all-linear", "full"])
@pytest.mark.parametrize("row_tokens", [40, pytest.param(120, marks=pytest.mark.pipeline)])
def test_packed_equals_one_prefix_at_a_time(adapter, row_tokens, model, sequences, finetune_settings):
    model = _prepare(adapter, model, finetune_settings)
    windows = training_windows(sequences.train(), 8)
    batch = pack(windows, model.blueprint.prompt, row_tokens)
    order = [window for row in first_fit(windows, model.blueprint.prompt, row_tokens) for window in row]
    in_order = [windows[window] for window in order]
    alone = reference.represent(model, in_order)
    packed = model.represent(batch)
    assert batch.labels.tolist() == [label for window in in_order for label in window.labels]
    assert _relative(packed, alone) < TOLERANCE
    found = _loss_and_gradients(model, packed, batch.labels, model.logits)
    wanted = _loss_and_gradients(model, alone, batch.labels, lambda hidden: reference.logits(model, hidden))
    assert found.keys() == wanted.keys()
    assert _worst(found, wanted) < TOLERANCE


def _raw_positions(batch):
    return batch._replace(positions=torch.arange(batch.positions.shape[1]).expand_as(batch.positions))


def _shifted_targets(batch):
    read = torch.zeros_like(batch.positions).index_put((batch.rows, batch.columns), torch.tensor(1))
    return batch._replace(positions=batch.positions + read * (1 + batch.positions % 3))


def _one_window(batch):
    return batch._replace(window=batch.window.clamp(max=1))


def _leaking_target(batch):
    return batch._replace(visible=batch.visible + batch.visible % 2)


@pytest.mark.parametrize("mistake", [_raw_positions, _shifted_targets, _one_window, _leaking_target])
def test_planted_mistakes_are_noticed(mistake, model, sequences):
    batch = pack(training_windows(sequences.train(), 8), model.blueprint.prompt, 120)
    with torch.inference_mode():
        assert _relative(model.represent(mistake(batch)), model.represent(batch)) > 2e-5


def test_gradient_checkpointing_changes_nothing(model, sequences, finetune_settings):
    model = _prepare("full", model, finetune_settings)
    batch = pack(training_windows(sequences.train(), 8), model.blueprint.prompt, 120)
    plain = _loss_and_gradients(model, model.represent(batch), batch.labels, model.logits)
    model.backbone.gradient_checkpointing_enable()
    again = _loss_and_gradients(model, model.represent(batch), batch.labels, model.logits)
    assert _worst(again, plain) < TOLERANCE


def test_rows_hold_every_window_once_within_the_limit(model, sequences):
    prompt = model.blueprint.prompt
    windows = training_windows(sequences.train(), 8)
    rows = first_fit(windows, prompt, 60)
    assert sorted(window for row in rows for window in row) == list(range(len(windows)))
    for row in rows:
        size = len(prompt.before) + sum(window_tokens(windows[window], prompt) for window in row)
        assert size <= 60 or len(row) == 1


def test_padding_sees_itself_alone(model, sequences):
    batch = pack(training_windows(sequences.train(), 8), model.blueprint.prompt, 60)
    allowed = additive_mask(batch, torch.float32)[:, 0] == 0
    for row, column in zip(*torch.where(batch.window == PADDING), strict=True):
        assert allowed[row, column].nonzero().tolist() == [[int(column)]]


def test_a_longer_padding_changes_no_representation(model, sequences):
    windows = training_windows(sequences.train(), 8)
    batch = pack(windows, model.blueprint.prompt, 60)
    wider = [torch.nn.functional.pad(t, (0, 9), value=-1 if i == 3 else 0) for i, t in enumerate(batch[:6])]
    with torch.inference_mode():
        padded = model.represent(packing.PackedBatch(*wider, *batch[6:]))
        assert torch.allclose(padded, model.represent(batch), atol=1e-5)


def test_numbers_of_tokens_are_as_derived(model):
    """Two users of 5 and 3 training items: 4 + 2 inputs and 4 + 2 copies of the response behind one prompt."""
    prompt = model.blueprint.prompt
    windows = training_windows([np.arange(1, 6), np.arange(1, 4)], 8)
    batch = pack(windows, prompt, 256)
    assert batch.tokens.shape == (1, len(prompt.before) + 6 + 6 * len(prompt.after))


def test_flex_attention_gets_the_same_mask(model, sequences):
    """The block mask's own predicate, evaluated index by index as flex attention does, against the additive mask."""
    from torch.nn.attention.flex_attention import create_mask

    batch = pack(training_windows(sequences.train(), 8), model.blueprint.prompt, 48)
    n_rows, length = batch.positions.shape
    for cached in (0, 5):
        blocks = block_mask(batch, torch.float32, cached)
        assert blocks.shape == (n_rows, 1, length, cached + length)
        dense = create_mask(blocks.mask_mod, n_rows, 1, length, cached + length, device="cpu")
        assert torch.equal(dense, additive_mask(batch, torch.float32, cached) == 0)
