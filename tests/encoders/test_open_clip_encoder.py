import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mmesid.config import OpenClip
from mmesid.encoders import open_clip_encoder
from mmesid.errors import WeightsError
from tests.logs import silent

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"layers": 1, "width": 16, "head_width": 8, "image_size": 16, "patch_size": 8},
    "text_cfg": {"layers": 1, "width": 16, "heads": 2, "context_length": 12, "vocab_size": 49408},
}
WEIGHTS = "open_clip_model.safetensors"
TEXTS = ["an oak lamp", "", "a red scarf", "花瓶", "long " * 30_000]


def settings(model: str, pretrained: str | None = None) -> OpenClip:
    return OpenClip(
        model=model,
        pretrained=pretrained,
        dimension=8,
        image_size=16,
        context_length=12,
        learning_rate=1e-3,
        batch_size=16,
        epochs=1,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with a small model: configuration and weights."""
    import open_clip

    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("clip")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    save_file(open_clip.CLIP(**CONFIG).state_dict(), folder / WEIGHTS)
    return folder


@pytest.fixture
def damaged(whole, tmp_path) -> Path:
    """A copy of the folder, for a test to damage."""
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def towers(whole) -> open_clip_encoder.Towers:
    return open_clip_encoder.load_pretrained(settings(f"local-dir:{whole}"), "cpu")


def test_the_weights_of_a_folder_are_loaded(whole, towers):
    for name, tensor in load_file(whole / WEIGHTS).items():
        assert torch.equal(towers.model.state_dict()[name], tensor)


@pytest.mark.parametrize(("tag", "is_quick"), [("openai", True), ("laion400m_e32", True), ("laion2b_s34b_b79k", False)])
def test_the_activation_is_the_one_that_a_tag_was_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str, is_quick: bool
) -> None:
    import open_clip

    torch.manual_seed(0)
    trained = open_clip.CLIP(**CONFIG, quick_gelu=is_quick).eval()
    for weights in trained.parameters():
        torch.nn.init.normal_(weights, std=0.5)
    torch.save(trained.state_dict(), tmp_path / "weights.pt")
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-32", CONFIG)
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda *names, **how: str(tmp_path / "weights.pt"))
    found = open_clip_encoder.load_pretrained(settings("ViT-B-32", tag), "cpu").model
    pixels = torch.randn(3, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(found.encode_image(pixels), trained.encode_image(pixels))


def test_absent_texts_and_pictures_are_masked_zeros(towers, toy):
    text = open_clip_encoder.encode_texts(towers, TEXTS, "cpu", silent)
    image = open_clip_encoder.encode_pictures(towers, toy.pictures[:5], "cpu", silent)
    assert text.present.tolist() == [False, True, False, True, True, True]
    assert image.present.tolist() == [False, False, True, True, True, True]
    for embedding in (text, image):
        lengths = np.linalg.norm(embedding.matrix, axis=1)
        np.testing.assert_allclose(lengths, embedding.present, atol=1e-5)


def test_batches_do_not_matter_and_progress_reaches_one(towers, monkeypatch):
    whole = open_clip_encoder.encode_texts(towers, TEXTS, "cpu", silent)
    progress: list[float] = []
    monkeypatch.setattr(open_clip_encoder, "BATCH", 3)
    parts = open_clip_encoder.encode_texts(towers, TEXTS, "cpu", lambda m, step: progress.append(m["progress"]))
    np.testing.assert_allclose(parts.matrix, whole.matrix, atol=1e-6)
    assert progress == [0.75, 1.0]


def test_a_folder_without_weights_is_an_error_not_a_random_model(damaged):
    (damaged / WEIGHTS).unlink()
    with pytest.raises(WeightsError, match="does not load"):
        open_clip_encoder.load_pretrained(settings(f"local-dir:{damaged}"), "cpu")


@pytest.mark.parametrize("fault", ["missing", "unexpected", "shape"])
def test_weights_that_do_not_fit_the_model_are_an_error(damaged, fault):
    weights = load_file(damaged / WEIGHTS)
    if fault == "missing":
        del weights["visual.proj"]
    elif fault == "unexpected":
        weights["visual.other"] = torch.zeros(1)
    else:
        weights["visual.proj"] = torch.zeros(3, 3)
    save_file(weights, damaged / WEIGHTS)
    with pytest.raises(WeightsError, match="visual"):
        open_clip_encoder.load_pretrained(settings(f"local-dir:{damaged}"), "cpu")


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        ("ViT-B-32", None, "null is random"),
        ("ViT-B-32", "no-such-tag", "tags of this model: openai"),
        ("no-such-model", "openai", "no-such-model"),
        ("local-dir:/no/such/folder", None, "/no/such/folder"),
        ("local-dir:/no/such/folder", "openai", "brings its own weights"),
    ],
)
def test_names_that_lead_to_no_weights_are_an_error(model, pretrained, message):
    with pytest.raises(WeightsError, match=message):
        open_clip_encoder.load_pretrained(settings(model, pretrained), "cpu")
