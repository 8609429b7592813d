"""Texts and pictures a second through the encoders, against the bare model on input that is prepared beforehand.

`python -m benchmarks.encoding [--quick] [--output FILE]`. Weights are random, sizes and architectures those of
all-MiniLM-L6-v2 and of SigLIP base 16/224; time depends on them alone. Our side counts tokens, sorts, decodes JPEG
files, resizes, and writes its shards. Both sides have the same batches and count seconds of the processor, in which
what is prepared beside the model costs as much as before it: on a free core the rate by the clock is nearer to the bare
model's.
"""

import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import measure
from mmesid.artifacts.shards import Shards
from mmesid.config import SentenceTransformers, VisionModel
from mmesid.encoders import picture_encoding, text_encoding, text_model, vision_model
from mmesid.encoders.text_model import TextModel
from mmesid.encoders.vision_model import Vision
from mmesid.kernels.softmax import multiplies_bfloat16

NAME = "encoding"
VOCABULARY = 30_522
COMMON = {"revision": None, "trust_remote_code": False}


class Size(NamedTuple):
    """How much is encoded, and how large the models are."""

    texts: int = 1500
    pictures: int = 32
    runs: int = 3
    bert: tuple[int, int, int] = (384, 6, 12)  # width, layers, heads
    vision: tuple[int, int, int] = (768, 12, 12)
    side: int = 224
    file_side: int = 500  # of a JPEG file, as shops have them


QUICK = Size(texts=20, pictures=6, runs=2, bert=(16, 1, 2), vision=(16, 1, 2), side=32, file_side=40)


def main(quick: bool) -> measure.Result:
    """Measure both modalities."""
    return compare(QUICK if quick else Size())


def compare(size: Size) -> measure.Result:
    """The rates of both modalities; the result's own numbers are those of the one that loses more."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [_texts(size, Path(folder)), _pictures(size, Path(folder))]
    worst = min(rows, key=lambda row: row["ratio"])
    return {
        "name": NAME,
        "unit": "pieces/s of one processor",
        "ratio": worst["ratio"],
        "a": worst["a"],
        "b": worst["b"],
        "runs": size.runs,
        "machine": measure.machine(),
        "rows": rows,
    }


def _texts(size: Size, folder: Path) -> dict[str, Any]:
    model, chosen = _bert(size, folder)
    words, rng = np.array([f"w{number}" for number in range(VOCABULARY - 4)]), np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(3.5, 0.5, size.texts), 4, 240).astype(int)  # as Beauty's: 33 in the median
    texts = [" ".join(rng.choice(words, length)) for length in lengths]
    counted = text_encoding.token_lengths(model, texts)
    batches = [
        model.tokenizer([texts[place] for place in batch], padding=True, return_tensors="pt")
        for shard in text_encoding.plan(counted, chosen.batch_tokens, model.parameters, "cpu").shards
        for batch in shard
    ]

    def ours(turn: int) -> float:
        shards = Shards(folder / f"texts{turn}")
        text_encoding.encode(texts, lambda count: model, chosen.batch_tokens, "cpu", _silent, shards)
        return size.texts

    @torch.inference_mode()
    def bare(turn: int) -> float:
        for batch in batches:
            model.model(**batch)
        return size.texts

    return _row("texts, all-MiniLM-L6-v2", model.record()["dtype"], ours, bare, size)


def _pictures(size: Size, folder: Path) -> dict[str, Any]:
    model, chosen = _siglip(size, folder)
    files = [_jpeg(number, size.file_side) for number in range(size.pictures)]
    starts = range(0, size.pictures, chosen.batch_size)
    batches = [model.prepare(files[start : start + chosen.batch_size]) for start in starts]
    prepared = [{name: value.to(model.model.dtype) for name, value in batch.items()} for batch in batches]

    def ours(turn: int) -> float:
        shards = Shards(folder / f"pictures{turn}")
        picture_encoding.encode(files, lambda count: model, chosen.batch_size, "cpu", _silent, shards)
        return size.pictures

    @torch.inference_mode()
    def bare(turn: int) -> float:
        for batch in prepared:
            model.model(**batch)
        return size.pictures

    return _row(f"pictures, SigLIP base 16/{size.side}", model.record()["dtype"], ours, bare, size)


def _row(what: str, dtype: str, ours: measure.Side, bare: measure.Side, size: Size) -> dict[str, Any]:
    rates = measure.interleave([ours, bare], size.runs, clock=time.process_time)
    single = [first / second for first, second in zip(*rates, strict=True)]
    a, b = map(statistics.median, rates)
    return {"what": what, "dtype": dtype, "a": a, "b": b, "ratio": a / b, "runs": single}


def _bert(size: Size, folder: Path) -> tuple[TextModel, SentenceTransformers]:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = {word: place for place, word in enumerate([*special, *(f"w{n}" for n in range(VOCABULARY - 4))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    where = folder / "bert"
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **names).save_pretrained(where)
    width, layers, heads = size.bert
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(where)
    sizes = {"prompt": None, "pooling": "auto", "max_tokens": 256, "batch_tokens": 2048, "dtype": _dtype()}
    chosen = SentenceTransformers.model_validate({"model": str(where), **COMMON, **sizes})
    return text_model.load(chosen, size.texts, "cpu"), chosen


def _siglip(size: Size, folder: Path) -> tuple[Vision, VisionModel]:
    from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

    width, layers, heads = size.vision
    config = SiglipVisionConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        image_size=size.side,
        patch_size=16,
    )
    where = folder / "siglip"
    SiglipVisionModel(config).to(torch.bfloat16).save_pretrained(where)
    SiglipImageProcessor(size={"height": size.side, "width": size.side}).save_pretrained(where)
    sizes = {"features": "auto", "batch_size": 16, "dtype": _dtype()}
    chosen = VisionModel.model_validate({"model": str(where), **COMMON, **sizes})
    return vision_model.load(chosen, size.pictures, "cpu"), chosen


def _dtype() -> str:
    """The one in which the model is fast, and so all around it weighs more."""
    return "bfloat16" if multiplies_bfloat16("cpu") else "float32"


def _jpeg(seed: int, side: int) -> bytes:
    from PIL import Image

    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(file, format="JPEG", quality=90)
    return file.getvalue()


def _silent(metrics: dict[str, float], step: int) -> None:
    pass


if __name__ == "__main__":
    measure.command_line(NAME, main, __doc__)
