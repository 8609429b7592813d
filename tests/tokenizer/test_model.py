import pytest
import torch

from mmesid.tokenizer.losses import infonce
from mmesid.tokenizer.model import MMRQVAE
from mmesid.tokenizer.training import Items, build


@pytest.fixture
def items(embeddings):
    return Items(
        {name: torch.from_numpy(e.matrix[1:]) for name, e in embeddings.items()},
        {name: torch.from_numpy(e.present[1:]) for name, e in embeddings.items()},
    )


@pytest.fixture
def model(items, settings):
    return build(items, settings, seed=0)


def test_an_absent_items_values_contribute_nothing(model, items):
    noisy = {
        name: torch.where(items.present[name][:, None], matrix, torch.full_like(matrix, 1e6))
        for name, matrix in items.embeddings.items()
    }
    assert not torch.equal(noisy["text"], items.embeddings["text"])
    for mode in (model.train(), model.eval()):
        clean, _ = mode(items.embeddings, items.present)
        losses, _ = mode(noisy, items.present)
        assert torch.equal(losses.total, clean.total)


def test_the_loss_is_its_weighted_parts(model, items, settings):
    losses, coded = model.eval()(items.embeddings, items.present)
    expected = (
        settings.reconstruction_weight * losses.reconstruction
        + losses.quantization
        + settings.alignment_weight * losses.alignment
    )
    torch.testing.assert_close(losses.total, expected)
    torch.testing.assert_close(losses.quantization, sum(c.quantized.loss for c in coded.values()))


def test_a_modality_that_a_batch_lacks_drops_out(model, items):
    present = {**items.present, "image": torch.zeros_like(items.present["image"])}
    losses, coded = model.eval()(items.embeddings, present)
    assert set(coded) == {"collaborative", "text"}
    assert losses.total.isfinite()


def test_alignment_pairs_the_same_items(model, items):
    """An item's partner is found by the item, not by its place among the present ones."""
    model.eval()
    _, coded = model(items.embeddings, items.present)
    both = items.present["collaborative"] & items.present["text"]
    by_item = {name: torch.full((len(both), 6), torch.nan) for name in coded}
    for name in coded:
        by_item[name][items.present[name]] = coded[name].quantized.quantized.detach()

    expected = sum(
        infonce(by_item["collaborative"][pair], by_item[name][pair], model.settings.temperature)
        for name in ("text", "image")
        if (pair := items.present["collaborative"] & items.present[name]).any()
    )
    losses, _ = model(items.embeddings, items.present)
    torch.testing.assert_close(losses.alignment.detach(), expected)


def test_one_modality_has_nothing_to_align_with(items, settings):
    alone = Items({"text": items.embeddings["text"]}, {"text": items.present["text"]})
    losses, _ = build(alone, settings, seed=0)(*alone)
    assert losses.alignment.item() == 0


def test_an_untrained_model_keeps_cosines_and_loses_only_what_quantization_takes(model, items, settings):
    autoencoder = model.eval().autoencoders["collaborative"]
    rows = items.embeddings["collaborative"]
    wide = build(Items({"a": rows}, {"a": torch.ones(len(rows), dtype=torch.bool)}), _as_wide(settings), seed=0)
    latent = wide.autoencoders["a"].encoder(wide.autoencoders["a"].standardize(rows))
    unit_before, unit_after = (torch.nn.functional.normalize(x, dim=1) for x in (rows, latent))
    torch.testing.assert_close(unit_after @ unit_after.T, unit_before @ unit_before.T, atol=1e-4, rtol=1e-4)
    lossless = wide.autoencoders["a"].decoder(latent)
    torch.testing.assert_close(lossless, wide.autoencoders["a"].standardize(rows), atol=1e-4, rtol=1e-4)
    standardized = autoencoder.standardize(rows)
    assert standardized.mean().item() == pytest.approx(0, abs=1e-5)
    assert standardized.square().mean().item() == pytest.approx(1, rel=1e-4)


def _as_wide(settings):
    return settings.model_copy(update={"dimension": 9})  # wider than the 8-d embedding


def test_save_then_load_is_identity(model, items, settings):
    widths = {name: matrix.shape[1] for name, matrix in items.embeddings.items()}
    loaded = MMRQVAE(widths, settings)
    loaded.load_state_dict(model.state_dict())
    for autoencoder, name in zip(loaded.autoencoders.values(), widths, strict=True):
        autoencoder.initialize(items.embeddings[name] + 1, seed=5)  # already initialized: nothing moves
    before, _ = model.eval()(items.embeddings, items.present)
    after, _ = loaded.eval()(items.embeddings, items.present)
    assert torch.equal(before.total, after.total)
