"""LLM2CLIP of true architecture: loaded without code of the hub, and every step held against the rules written out."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPVisionModelWithProjection, LlamaModel

from mmesid.artifacts.pictures import decode
from mmesid.config import Llm2Clip
from mmesid.encoders import llm2clip
from mmesid.errors import WeightsError
from tests.encoders import tiny_vision_models

TEXTS = ["a red lamp", "oak", "rose shampoo, two ounces, in a blue bottle"]


def settings(folders: tuple[Path, Path], **values: Any) -> Llm2Clip:
    clip, llama = map(str, folders)
    defaults = {"clip_revision": None, "language_model_revision": None, "max_tokens": 64}
    sizes = {"batch_tokens": 256, "batch_size": 4, "dtype": "float32"}
    return Llm2Clip.model_validate({"clip": clip, "language_model": llama, **defaults, **sizes, **values})


@torch.no_grad()
def alone(folders: tuple[Path, Path], text: str) -> torch.Tensor:
    """The vector of one text, written out: whole template, a mask that hides nothing, the mean behind the header."""
    clip, llama = folders
    tokenizer = AutoTokenizer.from_pretrained(llama)
    header = "<|start_header_id|>user<|end_header_id|>\n\n"
    ids = tokenizer(header + text + "<|eot_id|>", return_tensors="pt")["input_ids"]
    behind = len(tokenizer(text + "<|eot_id|>", add_special_tokens=False)["input_ids"])
    model = LlamaModel.from_pretrained(llama, attn_implementation="eager").eval()
    nothing = torch.zeros(1, 1, ids.shape[1], ids.shape[1])
    hidden = model(input_ids=ids, attention_mask=nothing).last_hidden_state[0]
    x = torch.nn.functional.normalize(hidden[-behind:].mean(0), dim=0)
    weights = load_file(clip / "model.safetensors")
    part = lambda name: weights[f"text_adapter.adaptor.{name}"]  # noqa: E731
    norm = lambda x, name: torch.nn.functional.layer_norm(x, x.shape, part(f"{name}.weight"), part(f"{name}.bias"))  # noqa: E731
    for block in range(4):
        inner = part(f"{block}.fn.0.weight") @ norm(x, f"{block}.ln") + part(f"{block}.fn.0.bias")
        x = x + part(f"{block}.fn.3.weight") @ torch.nn.functional.gelu(inner) + part(f"{block}.fn.3.bias")
    return torch.nn.functional.normalize(part("5.weight") @ norm(x, "4") + part("5.bias"), dim=0)


def test_texts_have_the_vectors_of_the_rules_written_out(tiny_llm2clip) -> None:
    model = llm2clip.load_texts(settings(tiny_llm2clip), 3, "cpu")
    wanted = torch.stack([alone(tiny_llm2clip, text) for text in TEXTS]).numpy()
    np.testing.assert_allclose(model.vectors(TEXTS), wanted, atol=1e-5)
    np.testing.assert_allclose(model.vectors(TEXTS[:1]), wanted[:1], atol=1e-5)  # without padding, and so without mask
    assert model.lengths(TEXTS) == [len(row) for row in model.tokens(TEXTS)]


def test_every_token_sees_the_whole_text(tiny_llm2clip) -> None:
    model = llm2clip.load_texts(settings(tiny_llm2clip), 3, "cpu").model
    ids = torch.arange(10)[None]
    other = ids.clone()
    other[0, -1] = 99
    with torch.no_grad():
        first, second = (model(input_ids=row).last_hidden_state[0, 0] for row in (ids, other))
    assert not torch.allclose(first, second)


def test_pictures_go_through_tower_and_projection(tiny_llm2clip, toy) -> None:
    model = llm2clip.load_pictures(settings(tiny_llm2clip), 3, "cpu")
    record = model.record()
    assert (record["preprocessing"]["size"], record["features"]) == ({"shortest_edge": 16}, "projection")
    assert record["preprocessing"]["image_mean"][0] == pytest.approx(0.48145466)  # CLIP's
    pictures = toy.pictures[1:5]
    found = model.vectors(model.prepare(pictures))
    assert found.shape == (4, 12)
    tower = CLIPVisionModelWithProjection.from_pretrained(tiny_llm2clip[0], projection_dim=12).eval()
    process = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    with torch.no_grad():
        inputs = process(images=[decode(picture) for picture in pictures], return_tensors="pt")
        wanted = torch.nn.functional.normalize(tower(**inputs).image_embeds, dim=-1)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)


def test_of_a_long_text_the_end_is_cut_and_the_template_stays(tiny_llm2clip) -> None:
    model = llm2clip.load_texts(settings(tiny_llm2clip, max_tokens=24), 3, "cpu")
    (row,) = model.tokens(["oak " * 500])
    assert len(row) == 24
    assert row[-1] == model.template.after[0]
    assert row[: len(model.template.before)] == model.template.before
    assert llm2clip.load_texts(settings(tiny_llm2clip, max_tokens=10_000), 3, "cpu").max_tokens == 64


def test_a_tokenizer_without_the_template_reads_texts_bare(tiny_llm2clip, tiny_qwen: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_qwen)
    assert llm2clip.template_of(tokenizer).after == []


def test_both_models_are_recorded(tiny_llm2clip) -> None:
    clip, llama = map(str, tiny_llm2clip)
    record = llm2clip.load_texts(settings(tiny_llm2clip), 3, "cpu").record()
    assert (record["model"], record["adapter"], record["max_tokens"]) == (llama, clip, 64)
    assert {"revision", "adapter_revision"} <= set(record)


def test_models_that_do_not_fit_each_other_are_refused(tiny_llm2clip, tmp_path: Path) -> None:
    _, other = tiny_vision_models.llm2clip(tmp_path, width=32)
    with pytest.raises(WeightsError, match=r"it is 32 wide, the adapter of .* reads 16"):
        llm2clip.load_texts(settings((tiny_llm2clip[0], other)), 3, "cpu")


def test_a_clip_without_adapter_or_with_another_is_refused(tiny_llm2clip, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_llm2clip[0], tmp_path / "clip")
    whole = load_file(folder / "model.safetensors")
    for kept, said in (("vision", r"no weights named text_adapter\.\*"), ("adaptor.4", "have another form")):
        few = {name: value for name, value in whole.items() if kept in name}
        save_file(few, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(WeightsError, match=said):
            llm2clip.load_texts(settings((folder, tiny_llm2clip[1])), 3, "cpu")
    with pytest.raises(WeightsError, match=r"llm2clip\.clip: .*lacks"):
        llm2clip.load_pictures(settings((folder, tiny_llm2clip[1])), 3, "cpu")


def test_an_adapter_in_several_files_is_found(tiny_llm2clip, tmp_path: Path) -> None:
    import json

    folder = shutil.copytree(tiny_llm2clip[0], tmp_path / "clip")
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    placed = {name: f"model-{1 + ('adapter' in name and 'ln' in name)}.safetensors" for name in whole}
    for file in set(placed.values()):
        part = {name: value for name, value in whole.items() if placed[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    found = llm2clip.load_texts(settings((folder, tiny_llm2clip[1])), 3, "cpu").vectors(TEXTS)
    wanted = llm2clip.load_texts(settings(tiny_llm2clip), 3, "cpu").vectors(TEXTS)
    np.testing.assert_array_equal(found, wanted)
