"""Text-embedding models of true architectures: one path loads them, and each pools as its files say."""

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from mmesid.artifacts.shards import Shards
from mmesid.artifacts.values import Embedding
from mmesid.config import SentenceTransformers
from mmesid.encoders import hub, sharded, text_encoding
from mmesid.encoders.text_model import embed, load, pool
from mmesid.encoders.text_recipe import SETTINGS, read_recipe
from mmesid.errors import WeightsError
from tests.encoders.tiny_text_models import sentence_transformers_files

TEXTS = ["a red lamp", "oak", "rose shampoo, two ounces, in a blue bottle"]
FLAG = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "last": "pooling_mode_lasttoken"}


def settings(model: Path | str, **values: Any) -> SentenceTransformers:
    defaults = {
        "revision": None,
        "trust_remote_code": False,
        "prompt": None,
        "pooling": "auto",
        "max_tokens": 32,
        "batch_tokens": 256,
        "dtype": "float32",
    }
    return SentenceTransformers.model_validate({"model": str(model), **defaults, **values})


def encode(
    texts: list[str], chosen: SentenceTransformers, device: str, log: sharded.Log, shards: Shards
) -> tuple[Embedding, dict[str, object]]:
    """`text_encoding.encode` by the model that the settings name, in one process."""
    found, made = text_encoding.encode(
        texts, lambda count: load(chosen, count, device), chosen.batch_tokens, device, log, shards
    )
    assert found is not None
    return found, made


@pytest.fixture
def copied(tmp_path: Path, tiny_bert: Path, tiny_qwen: Path, tiny_roberta: Path):
    """A function that copies a tiny model, for a test to add files to it."""
    models = {"bert": tiny_bert, "qwen": tiny_qwen, "roberta": tiny_roberta}
    return lambda name: shutil.copytree(models[name], tmp_path / name)


def alone(folder: Path, text: str, pooling: str) -> torch.Tensor:
    """The vector of one text without any batch or padding, written out."""
    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        hidden = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state[0]
    return {"mean": hidden.mean(0), "cls": hidden[0], "last": hidden[-1]}[pooling]


@pytest.mark.parametrize("name", ["bert", "qwen", "roberta"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_a_text_in_a_batch_has_the_vector_that_it_has_alone(copied, name: str, pooling: str) -> None:
    folder = copied(name)
    model = load(settings(folder, pooling=pooling), len(TEXTS), "cpu")
    assert model.tokenizer.padding_side == ("left" if pooling == "last" else "right")
    found = embed(model, TEXTS)
    wanted = [torch.nn.functional.normalize(alone(folder, text, pooling), dim=0).numpy() for text in TEXTS]
    np.testing.assert_allclose(found, np.stack(wanted), atol=1e-5)


@pytest.mark.parametrize(("name", "pooling"), [("bert", "mean"), ("qwen", "last")])
def test_without_files_an_encoder_is_averaged_and_a_decoder_speaks_at_its_end(copied, name: str, pooling: str) -> None:
    record = load(settings(copied(name)), 3, "cpu").record()
    assert (record["pooling"], record["normalize"], record["prompt"]) == (pooling, True, "")
    assert record["read_from"] == "default"


@pytest.mark.parametrize("pooling", FLAG)
def test_files_say_pooling_length_normalization_and_prompt(copied, pooling: str) -> None:
    folder = copied("bert")
    prompts = {"prompts": {"item": "the item: ", "query": "find: "}, "default_prompt_name": "item"}
    flags = {flag: name == pooling for name, flag in FLAG.items()}
    sentence_transformers_files(folder, ["Transformer", "Pooling"], flags, **prompts)
    model = load(settings(folder), 3, "cpu")
    assert model.record() == {
        "model": str(folder),
        "revision": None,
        "pooling": pooling,
        "normalize": False,
        "prompt": "the item: ",
        "read_from": "modules.json",
        "max_tokens": 24,
        "dtype": "float32",
    }
    wanted = alone(folder, "the item: oak", pooling).numpy()
    np.testing.assert_allclose(embed(model, ["oak", "a red scarf"])[0], wanted, atol=1e-5)
    assert load(settings(folder, prompt="", pooling="cls"), 3, "cpu").recipe[:3] == ("cls", False, "")


def test_newer_files_name_the_pooling() -> None:
    files = {
        "modules.json": [
            {"path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling"},
        ],
        "1_Pooling/config.json": {"embedding_dimension": 8, "pooling_mode": "lasttoken"},
    }
    assert read_recipe(files.get, decoder=False).pooling == "last"


@pytest.mark.parametrize("name", SETTINGS)
def test_texts_are_lower_case_where_the_file_says_so_and_without_the_space_around_them(copied, name: str) -> None:
    folder = copied("qwen")
    sentence_transformers_files(folder, ["Transformer", "Pooling"], {FLAG["mean"]: True})
    (folder / "sentence_bert_config.json").unlink()
    (folder / name).write_text('{"max_seq_length": 20, "do_lower_case": true}')
    model = load(settings(folder, prompt="An: "), 3, "cpu")
    assert (model.max_tokens, model.record()["lower_case"]) == (20, True)
    wanted = alone(folder, "an: oak lamp", "mean").numpy()
    np.testing.assert_allclose(embed(model, ["Oak LAMP \n", "red"])[0], wanted, atol=1e-5)
    assert model.lengths(["Oak LAMP \n"]) == model.lengths(["oak lamp"])


def test_a_model_may_lie_in_a_folder_beside_its_modules(copied, tmp_path: Path) -> None:
    folder = tmp_path / "whole"
    shutil.copytree(copied("bert"), folder / "0_Transformer")
    sentence_transformers_files(folder, ["Transformer", "Pooling"], {FLAG["cls"]: True}, "0_Transformer")
    model = load(settings(folder), 3, "cpu")
    assert (model.max_tokens, model.recipe.pooling) == (24, "cls")
    np.testing.assert_allclose(embed(model, ["oak"])[0], alone(folder / "0_Transformer", "oak", "cls"), atol=1e-5)


@pytest.mark.parametrize(
    ("modules", "pooling", "said"),
    [
        (["Transformer", "Pooling", "LSTM"], {}, "names LSTM"),
        (["Transformer", "Normalize", "Pooling"], {}, "has the order Transformer, Normalize, Pooling"),
        (["Pooling", "Normalize"], {}, "has the order Pooling, Normalize"),
        (["Transformer", "Pooling", "Pooling"], {}, "has the order Transformer, Pooling, Pooling"),
        (["Transformer", "Pooling"], {"pooling_mode_max_tokens": True}, "pools by pooling_mode_max_tokens"),
        (["Transformer", "Pooling"], {FLAG["mean"]: True, FLAG["cls"]: True}, "and pooling_mode_cls_token"),
    ],
)
def test_what_is_not_supported_is_refused(copied, modules: list[str], pooling: dict[str, bool], said: str) -> None:
    folder = copied("bert")
    sentence_transformers_files(folder, modules, pooling)
    with pytest.raises(WeightsError, match=said):
        load(settings(folder), 3, "cpu")


@pytest.mark.parametrize("content", [{}, [], {"0": {"type": "a", "path": ""}}, [{"path": ""}], ["Transformer"], "x"])
def test_modules_that_are_no_list_of_modules_are_refused(copied, content: object) -> None:
    folder = copied("bert")
    (folder / "modules.json").write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=r"its modules\.json is no list of modules"):
        load(settings(folder), 3, "cpu")


@pytest.mark.parametrize("kind", ["sentence_transformers.models.StaticEmbedding", "custom_st.Transformer"])
@pytest.mark.parametrize("has_config", [True, False])
def test_modules_are_judged_before_anything_is_loaded(copied, kind: str, has_config: bool) -> None:
    folder = copied("bert")
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]))
    if not has_config:
        (folder / "config.json").unlink()
    said = rf"its modules\.json names {kind.removeprefix('sentence_transformers.models.')}; supported are Transformer"
    with pytest.raises(WeightsError, match=said):
        load(settings(folder), 3, "cpu")


def test_a_default_prompt_that_the_files_do_not_hold_is_refused_unless_there_is_another(copied) -> None:
    folder = copied("bert")
    modules = ["Transformer", "Pooling"], {FLAG["mean"]: True}
    sentence_transformers_files(folder, *modules, prompts={"query": "find: "}, default_prompt_name="passage")
    with pytest.raises(WeightsError, match=r"default prompt is 'passage', its prompts are query; .*\.prompt$"):
        load(settings(folder), 3, "cpu")
    assert load(settings(folder, prompt="item: "), 3, "cpu").recipe.prompt == "item: "


def test_a_prompt_that_is_left_out_of_the_pooling_is_refused_unless_it_is_empty(copied) -> None:
    folder = copied("bert")
    pooling = {FLAG["mean"]: True, "include_prompt": False}
    sentence_transformers_files(
        folder, ["Transformer", "Pooling"], pooling, prompts={"item": "it: "}, default_prompt_name="item"
    )
    with pytest.raises(WeightsError, match=r"sentence_transformers\.prompt to"):
        load(settings(folder), 3, "cpu")
    assert load(settings(folder, prompt=""), 3, "cpu").recipe.prompt == ""


def test_a_hub_model_is_pinned_to_the_commit_that_was_found(
    tiny_qwen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the hub's cache lies on the disk after a download; all files, the optional ones too, are of that commit."""
    newest, older = "a" * 40, "b" * 40
    for commit, pooling in ((newest, "cls"), (older, "mean")):
        snapshot = tmp_path / "models--shop--reader" / "snapshots" / commit
        shutil.copytree(tiny_qwen, snapshot)
        sentence_transformers_files(snapshot, ["Transformer", "Pooling", "Normalize"], {FLAG[pooling]: True})
    (tmp_path / "models--shop--reader" / "refs").mkdir()
    (tmp_path / "models--shop--reader" / "refs" / "main").write_text(newest)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    found = load(settings("shop/reader"), 3, "cpu")
    assert (found.revision, found.recipe.pooling, found.state) == (newest, "cls", "")
    pinned = load(settings("shop/reader", revision=older), 3, "cpu")
    assert (pinned.revision, pinned.recipe.pooling) == (older, "mean")
    with pytest.raises(WeightsError, match="shop/other does not lie in this machine's cache"):
        load(settings("shop/other"), 3, "cpu")


def test_a_hub_model_may_lie_in_a_folder_of_its_repository(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, commit = tmp_path / "models--shop--reader", "c" * 40
    shutil.copytree(tiny_bert, repository / "snapshots" / commit / "0_Transformer")
    files = ["Transformer", "Pooling"], {FLAG["cls"]: True}, "0_Transformer"
    sentence_transformers_files(repository / "snapshots" / commit, *files)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    found = load(settings("shop/reader"), 3, "cpu")
    assert (found.revision, found.recipe.pooling, found.max_tokens) == (commit, "cls", 24)


def test_a_long_text_is_cut(tiny_bert: Path) -> None:
    model = load(settings(tiny_bert, max_tokens=8), 3, "cpu")
    long, cut = embed(model, ["oak " * 500, "oak " * 6])  # 6 words and the two tokens around them
    np.testing.assert_allclose(long, cut, atol=1e-5)
    assert load(settings(tiny_bert, max_tokens=10_000), 3, "cpu").max_tokens == 64


def test_positions_that_stand_for_padding_hold_no_token(tiny_roberta: Path) -> None:
    model = load(settings(tiny_roberta, max_tokens=256), 3, "cpu")
    assert model.max_tokens == 33  # of 34, padding has the first
    assert embed(model, ["oak " * 500]).shape == (1, 16)


def test_bfloat16_is_chosen_for_much_work_where_it_is_fast(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "multiplies_bfloat16", lambda device: True)
    assert load(settings(tiny_bert, dtype="auto"), 3, "cpu").model.dtype == torch.float32
    monkeypatch.setattr(hub, "BFLOAT16_WORK", 1.0)
    narrow = load(settings(tiny_bert, dtype="auto"), 3, "cpu")
    assert narrow.model.dtype == torch.bfloat16
    wide = load(settings(tiny_bert), 3, "cpu")
    assert (embed(narrow, TEXTS) * embed(wide, TEXTS)).sum(1).min() > 0.99
    monkeypatch.setattr(hub, "multiplies_bfloat16", lambda device: False)
    assert load(settings(tiny_bert, dtype="auto"), 3, "cpu").model.dtype == torch.float32


def test_a_tokenizer_without_padding_pads_with_its_end(copied) -> None:
    folder = copied("qwen")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    before = embed(load(settings(folder), 3, "cpu"), TEXTS)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    np.testing.assert_allclose(embed(load(settings(folder), 3, "cpu"), TEXTS), before, atol=1e-6)


def test_weights_that_are_missing_or_incomplete_are_refused(copied, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(WeightsError, match="expected minilm, a Hugging Face id or a folder"):
        load(settings(tmp_path / "nothing"), 3, "cpu")
    folder = copied("bert")
    weights = load_file(folder / "model.safetensors")
    weights.pop("encoder.layer.1.output.dense.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks 1 weights \(first: encoder\.layer\.1\.output\.dense\.weight\)"):
        load(settings(folder), 3, "cpu")


def test_a_packaged_model_that_is_not_installed_says_how_to_get_it() -> None:
    with pytest.raises(WeightsError, match=r"minilm, which is not installed: `mmesid weights minilm`"):
        load(settings("minilm"), 3, "cpu")


def test_pooling_by_hand() -> None:
    hidden = torch.arange(12.0).view(2, 3, 2)  # (B, S, D)
    right, left = torch.tensor([[1, 1, 0], [1, 1, 1]]), torch.tensor([[0, 1, 1], [1, 1, 1]])
    assert pool(hidden, right, "mean").tolist() == [[1, 2], [8, 9]]
    assert pool(hidden, right, "cls").tolist() == [[0, 1], [6, 7]]
    assert pool(hidden, right, "last").tolist() == [[2, 3], [10, 11]]
    assert pool(hidden, left, "mean").tolist() == [[3, 4], [8, 9]]
    assert pool(hidden, left, "cls").tolist() == [[2, 3], [6, 7]]
    assert pool(hidden, left, "last").tolist() == [[4, 5], [10, 11]]
