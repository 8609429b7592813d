"""What loads but cannot serve is refused at once: tokenizers without words, models of another kind, random vectors."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from mmesid.artifacts.hub import knows_words
from mmesid.encoders import text_model, vision_model
from mmesid.errors import WeightsError
from tests.encoders import test_text_model, test_vision_model
from tests.encoders.tiny_vision_models import CROPPED, SQUARE, TOWER, clip, dinov2

READER = {
    "vocab_size": 200,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "initializer_range": 0.5,
    "pad_token_id": 0,
}
XLNET = {"vocab_size": 200, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32}
RWKV = {"vocab_size": 200, "hidden_size": 16, "num_hidden_layers": 2, "attention_hidden_size": 16}


def drawn(folder: Path, kind: str, **sizes: Any) -> None:
    """A model with random weights, in place of the one that the folder has."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**sizes)
    transformers.AutoModel.from_config(config).save_pretrained(folder)


def without_tokenizer(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()


def with_another_token(folder: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"word{number}" for number in range(200)])
    tokenizer.save_pretrained(folder)


UNFIT_READERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no tokenizer": (without_tokenizer, "its tokenizer knows no words"),
    "too many tokens": (with_another_token, r"tokens \(first: 'word\d+'\) lie beyond the \d+ that config.json counts"),
    "clip": (clip, "it does not encode a text: "),
    "dinov2": (dinov2, "it does not encode a text: "),
    "fnet": (lambda folder: drawn(folder, "FNet", **READER), "changes by .*% beside a longer one"),
    "nystromformer": (lambda folder: drawn(folder, "Nystromformer", **READER), "changes by .*% beside a longer one"),
    "rwkv": (lambda folder: drawn(folder, "Rwkv", **RWKV), "changes by .*% beside a longer one"),
}


@pytest.mark.parametrize("name", UNFIT_READERS)
def test_what_cannot_read_is_refused(tiny_bert: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "reader")
    spoil, said = UNFIT_READERS[name]
    spoil(folder)
    with pytest.raises(WeightsError, match=rf"^encode_content\.sentence_transformers\.model: .*{said}"):
        text_model.load(test_text_model.settings(folder), 3, "cpu")


def test_positions_without_an_end_are_no_limit(tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "xlnet")
    drawn(folder, "XLNet", **XLNET)
    assert text_model.load(test_text_model.settings(folder), 3, "cpu").max_tokens == 32


def test_a_special_token_without_embedding_is_no_fault(tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "reader")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    known = json.loads((folder / "config.json").read_text())["vocab_size"]
    tokenizer.add_special_tokens({"additional_special_tokens": ["<picture>"]})
    assert len(tokenizer) > known
    tokenizer.save_pretrained(folder)
    text_model.load(test_text_model.settings(folder), 3, "cpu")


@pytest.mark.parametrize("name", ["bert", "qwen"])
def test_a_tokenizer_knows_words_where_it_has_its_files(tiny_bert: Path, tiny_qwen: Path, name: str) -> None:
    folder = {"bert": tiny_bert, "qwen": tiny_qwen}[name]
    assert knows_words(transformers.AutoTokenizer.from_pretrained(folder))


def test_a_vocabulary_of_another_script_knows_words() -> None:
    from tokenizers import Tokenizer, models

    words = {word: place for place, word in enumerate(["[UNK]", *(chr(0xE01 + letter) for letter in range(58))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    assert knows_words(transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]"))


@pytest.mark.parametrize("kind", ["BertTokenizer", "Qwen2Tokenizer", "T5Tokenizer", "GPT2Tokenizer", "LlamaTokenizer"])
def test_a_tokenizer_without_files_knows_no_words(kind: str) -> None:
    assert not knows_words(getattr(transformers, kind)())


def viewer(folder: Path, kind: str, process: Any, **sizes: Any) -> None:
    """A vision model with random weights and another's preprocessing."""
    drawn(folder, kind, **TOWER | sizes)
    process.save_pretrained(folder)


def llava(folder: Path) -> None:
    vision = transformers.CLIPVisionConfig(**TOWER)
    text = transformers.LlamaConfig(**READER | {"num_key_value_heads": 2})
    drawn(folder, "Llava", vision_config=vision, text_config=text, image_token_index=99)
    transformers.CLIPImageProcessor(**CROPPED).save_pretrained(folder)


def processor(**values: Any) -> Any:
    return transformers.ViTImageProcessor(size=SQUARE, **values)


UNFIT_VIEWERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "random": (
        lambda folder: viewer(folder, "ViTMAE", processor(), patch_size=2, initializer_range=0.5),
        "changes by .*% when it is encoded again",
    ),
    "llava": (llava, ""),
    "films": (lambda folder: viewer(folder, "VideoMAE", processor(), num_frames=2), "does not encode two pictures"),
    "no resize": (lambda folder: viewer(folder, "ViT", processor(do_resize=False)), "does not encode two pictures"),
    "gray": (lambda folder: viewer(folder, "ViT", processor(), num_channels=1), "does not encode two pictures"),
    "other size": (
        lambda folder: viewer(folder, "ViT", transformers.ViTImageProcessor(size={"height": 32, "width": 32})),
        "does not encode two pictures",
    ),
}


@pytest.mark.parametrize("name", UNFIT_VIEWERS)
def test_what_cannot_see_is_refused(tmp_path: Path, name: str) -> None:
    spoil, said = UNFIT_VIEWERS[name]
    spoil(tmp_path)
    with pytest.raises(WeightsError, match=rf"^encode_content\.transformers\.model: .*{said}"):
        vision_model.load(test_vision_model.settings(tmp_path), 3, "cpu")
