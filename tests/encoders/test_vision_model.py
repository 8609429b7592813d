"""Vision models of true architectures: one path loads them, and each sees as its own files and code say."""

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModel, CLIPConfig, CLIPVisionModelWithProjection

from mmesid.artifacts.pictures import decode
from mmesid.config import VisionModel
from mmesid.encoders import hub, vision_model
from mmesid.encoders.vision_model import embed, load
from mmesid.errors import WeightsError
from tests.encoders.tiny_vision_models import VISION


def settings(model: Path | str, **values: Any) -> VisionModel:
    defaults = {
        "revision": None,
        "trust_remote_code": False,
        "features": "auto",
        "batch_size": 4,
        "dtype": "float32",
    }
    return VisionModel.model_validate({"model": str(model), **defaults, **values})


@pytest.fixture(scope="session")
def vision(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of every small vision model."""
    root = tmp_path_factory.mktemp("vision")
    return {name: make(root / name) for name, make in VISION.items()}


@pytest.fixture
def pictures(toy) -> list[bytes]:
    return toy.pictures[1:8]


@torch.no_grad()
def alone(folder: Path, picture: bytes, features: str) -> torch.Tensor:
    """The vector of one picture by the library's own calls."""
    inputs = AutoImageProcessor.from_pretrained(folder)(images=decode(picture), return_tensors="pt")
    model = AutoModel.from_pretrained(folder).eval()
    if features == "image_features":
        found = model.get_image_features(**inputs).pooler_output
    else:
        output = model(**inputs)
        found = output.pooler_output if features == "pooler" else output.last_hidden_state[:, 0]
    return torch.nn.functional.normalize(found.flatten(1), dim=-1)[0]


CHOSEN = {
    "siglip": "image_features",
    "siglip2_naflex": "image_features",
    "clip": "image_features",
    "dinov2": "pooler",
    "vit": "cls",
    "convnext": "pooler",
}


@pytest.mark.parametrize("name", VISION)
def test_a_picture_in_a_batch_has_the_vector_that_it_has_alone(vision, pictures, name: str) -> None:
    model = load(settings(vision[name]), len(pictures), "cpu")
    assert model.record()["features"] == CHOSEN[name]
    found = embed(model, model.prepare(pictures))
    wanted = [alone(vision[name], picture, CHOSEN[name]).numpy() for picture in pictures]
    np.testing.assert_allclose(found, np.stack(wanted), atol=1e-5)
    assert np.ptp(found, axis=0).max() > 1e-3  # pictures differ


def test_preprocessing_is_read_from_the_models_files(vision) -> None:
    siglip, dinov2 = (load(settings(vision[name]), 1, "cpu").record() for name in ("siglip", "dinov2"))
    assert siglip["preprocessing"]["image_mean"] == (0.5, 0.5, 0.5)
    assert "crop_size" not in siglip["preprocessing"]
    assert dinov2["preprocessing"]["crop_size"] == {"height": 16, "width": 16}


@pytest.mark.parametrize("name", ["dinov2", "vit", "siglip"])
@pytest.mark.parametrize("features", ["cls", "mean"])
def test_tokens_can_be_chosen(vision, pictures, name: str, features: str) -> None:
    model = load(settings(vision[name], features=features), 1, "cpu")
    inputs = model.prepare(pictures)
    with torch.no_grad():
        hidden = getattr(model.model, "vision_model", model.model)(**inputs).last_hidden_state
    wanted = torch.nn.functional.normalize(hidden[:, 0] if features == "cls" else hidden.mean(1), dim=-1)
    np.testing.assert_allclose(embed(model, inputs), wanted.numpy(), atol=1e-5)


def test_the_vision_half_of_a_clip_keeps_its_projection(vision, pictures, tmp_path: Path) -> None:
    config = CLIPConfig.from_pretrained(vision["clip"])
    config.vision_config.projection_dim = config.projection_dim
    CLIPVisionModelWithProjection.from_pretrained(vision["clip"], config=config.vision_config).save_pretrained(tmp_path)
    shutil.copy(vision["clip"] / "preprocessor_config.json", tmp_path)
    half, whole = (load(settings(folder), 1, "cpu") for folder in (tmp_path, vision["clip"]))
    assert half.record()["features"] == "projection"
    found = embed(half, half.prepare(pictures))
    assert found.shape == (7, 12)
    np.testing.assert_allclose(found, embed(whole, whole.prepare(pictures)), atol=1e-5)
    pooled = load(settings(tmp_path, features="pooler"), 1, "cpu")
    assert embed(pooled, pooled.prepare(pictures)).shape == (7, 16)


def test_a_map_has_no_first_token_but_a_mean(vision, pictures) -> None:
    model = load(settings(vision["convnext"], features="mean"), 1, "cpu")
    assert embed(model, model.prepare(pictures)).shape == (7, 16)


def test_a_pooler_without_weights_is_refused_where_it_is_asked_for(vision) -> None:
    with pytest.raises(WeightsError, match=r"lacks 2 weights \(first: pooler\.dense\.bias\)"):
        load(settings(vision["vit"], features="pooler"), 1, "cpu")


def test_what_sees_no_pictures_is_refused(tiny_bert: Path, vision, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"encode_content\.transformers\.model: expected a Hugging Face id"):
        load(settings(tiny_bert), 1, "cpu")
    folder = shutil.copytree(tiny_bert, tmp_path / "bert")
    shutil.copy(vision["siglip"] / "preprocessor_config.json", folder)
    with pytest.raises(WeightsError, match="a bert takes no pictures"):
        load(settings(folder), 1, "cpu")


def test_incomplete_and_damaged_weights_are_refused(vision, tmp_path: Path) -> None:
    folder = shutil.copytree(vision["siglip"], tmp_path / "siglip")
    file = folder / "model.safetensors"
    weights = load_file(file)
    weights.pop("vision_model.head.probe")
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks 1 weights \(first: vision_model\.head\.probe\)"):
        load(settings(folder), 1, "cpu")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(
        WeightsError,
        match=r"^encode_content\.transformers\.model: .*model\.safetensors is damaged or cut short .*; fetch or",
    ):
        load(settings(folder), 1, "cpu")


def test_a_hub_model_is_pinned_and_out_of_reach_it_says_so(
    vision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "c" * 40
    shutil.copytree(vision["dinov2"], tmp_path / "models--shop--eye" / "snapshots" / commit)
    (tmp_path / "models--shop--eye" / "refs").mkdir()
    (tmp_path / "models--shop--eye" / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert load(settings("shop/eye"), 1, "cpu").record()["revision"] == commit
    with pytest.raises(
        WeightsError, match=r"shop/none does not lie in this machine's cache .* `hf download shop/none`"
    ):
        load(settings("shop/none"), 1, "cpu")


def test_bfloat16_is_chosen_for_much_work(vision, pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "multiplies_bfloat16", lambda device: True)
    monkeypatch.setattr(hub, "BFLOAT16_WORK", 1.0)
    narrow, wide = (load(settings(vision["siglip"], dtype=dtype), 1, "cpu") for dtype in ("auto", "float32"))
    assert narrow.record()["dtype"] == "bfloat16"
    cosines = (embed(narrow, narrow.prepare(pictures)) * embed(wide, wide.prepare(pictures))).sum(1)
    assert cosines.min() > 0.99


def test_work_is_judged_by_the_part_that_sees(vision) -> None:
    model = load(settings(vision["siglip"]), 1, "cpu")
    assert model.parameters < hub.parameters(model.model)
    assert model.tokens == 4
    assert load(settings(vision["siglip2_naflex"]), 1, "cpu").tokens == vision_model.TOKENS
