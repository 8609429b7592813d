"""Content encoders by name: a text and an image embedding of every item, from whichever encoder the params name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from mmesid.artifacts.items import texts
from mmesid.artifacts.shards import Shards
from mmesid.artifacts.values import Embedding, RawEmbedding
from mmesid.config import EncodeContent
from mmesid.encoders import (
    llm2clip,
    lsa,
    open_clip_encoder,
    open_clip_training,
    picture_encoding,
    pixels,
    precomputed,
    text_encoding,
    text_model,
    vision_model,
)
from mmesid.encoders.open_clip_encoder import Log, Towers
from mmesid.encoders.pictures import usable
from mmesid.encoders.sharded import ALONE, Share

EMBEDDED = "embedded"


@dataclass(frozen=True, eq=False)
class Source:
    """What any content encoder may draw on; texts, pictures and towers are made once, when first asked for."""

    items: pd.DataFrame  # of 1..N, as in artifacts.Prepared
    files: Sequence[bytes | None]  # picture files, likewise
    raw: Mapping[str, RawEmbedding]  # the source's precomputed embeddings, by modality
    settings: EncodeContent
    seed: int
    device: str
    log: Log
    shards: Shards  # of the encoders in SPREAD
    share: Share = ALONE  # which of several processes this is
    models: dict[str, dict[str, object]] = field(default_factory=dict)  # which pretrained model made what, by modality

    @cached_property
    def texts(self) -> list[str]:
        """Text of item 1..N, empty where absent."""
        return texts(self.items)

    @cached_property
    def pictures(self) -> list[bytes | None]:
        """Picture file of item 1..N, None where absent."""
        return usable(self.files)

    @cached_property
    def towers(self) -> Towers:
        """One open_clip model for both modalities."""
        settings = self.settings.open_clip
        if settings.model != EMBEDDED:
            return open_clip_encoder.load_pretrained(settings, self.device)
        return open_clip_training.train_embedded(self.texts, self.pictures, settings, self.seed, self.device, self.log)

    def record_open_clip(self, modality: str) -> None:
        """Say which pretrained model makes a modality's embedding, where it is not the catalogue's own."""
        settings = self.settings.open_clip
        if settings.model != EMBEDDED:
            self.models[modality] = {"model": settings.model, "pretrained": settings.pretrained, "normalize": True}


Encoder = Callable[[Source], Embedding | None]


def _text_open_clip(source: Source) -> Embedding | None:
    if not any(source.texts):
        return None
    source.record_open_clip("text")
    return open_clip_encoder.encode_texts(source.towers, source.texts, source.device, source.log)


def _text_sentence_transformers(source: Source) -> Embedding | None:
    settings = source.settings.sentence_transformers
    load = lambda count: text_model.load(settings, count, source.device)  # noqa: E731
    return _texts(source, load, settings.batch_tokens)


def _text_llm2clip(source: Source) -> Embedding | None:
    settings = source.settings.llm2clip
    load = lambda count: llm2clip.load_texts(settings, count, source.device)  # noqa: E731
    return _texts(source, load, settings.batch_tokens)


def _text_lsa(source: Source) -> Embedding | None:
    return lsa.encode(source.texts, source.settings.lsa_dimension, source.seed) if any(source.texts) else None


def _text_precomputed(source: Source) -> Embedding | None:
    return precomputed.join("text", source.items["item_id"].to_numpy(object), source.raw.get("text"))


def _image_open_clip(source: Source) -> Embedding | None:
    if not any(source.pictures):
        return None
    source.record_open_clip("image")
    return open_clip_encoder.encode_pictures(source.towers, source.pictures, source.device, source.log)


def _image_transformers(source: Source) -> Embedding | None:
    settings = source.settings.transformers
    load = lambda count: vision_model.load(settings, count, source.device)  # noqa: E731
    return _pictures(source, load, settings.batch_size)


def _image_llm2clip(source: Source) -> Embedding | None:
    settings = source.settings.llm2clip
    load = lambda count: llm2clip.load_pictures(settings, count, source.device)  # noqa: E731
    return _pictures(source, load, settings.batch_size)


def _image_pixels(source: Source) -> Embedding | None:
    if not any(source.pictures):
        return None
    return pixels.encode(source.pictures, source.settings.pixels_dimension, source.seed)


def _image_precomputed(source: Source) -> Embedding | None:
    return precomputed.join("image", source.items["item_id"].to_numpy(object), source.raw.get("image"))


def _none(source: Source) -> Embedding | None:
    return None


def _texts(source: Source, load: text_encoding.Loader, batch_tokens: int) -> Embedding | None:
    """By a pretrained model that reads; shards, processes and the record are the same for all of them."""
    if not any(source.texts):
        return None
    embedding, source.models["text"] = text_encoding.encode(
        source.texts, load, batch_tokens, source.device, source.log, source.shards.of("text"), source.share
    )
    return embedding


def _pictures(source: Source, load: picture_encoding.Loader, batch_size: int) -> Embedding | None:
    """By a pretrained model that sees, likewise."""
    if not any(source.pictures):
        return None
    embedding, source.models["image"] = picture_encoding.encode(
        source.pictures, load, batch_size, source.device, source.log, source.shards.of("image"), source.share
    )
    return embedding


TEXT: dict[str, Encoder] = {
    "open_clip": _text_open_clip,
    "sentence_transformers": _text_sentence_transformers,
    "llm2clip": _text_llm2clip,
    "precomputed": _text_precomputed,
    "lsa": _text_lsa,
    "none": _none,
}
IMAGE: dict[str, Encoder] = {
    "open_clip": _image_open_clip,
    "transformers": _image_transformers,
    "llm2clip": _image_llm2clip,
    "precomputed": _image_precomputed,
    "pixels": _image_pixels,
    "none": _none,
}
SPREAD = ("sentence_transformers", "transformers", "llm2clip")  # whose work several processes divide


class Encoded(NamedTuple):
    """What the encoders made."""

    embeddings: dict[str, Embedding]  # by modality; one that no item has, or whose encoder is `none`, is left out
    models: dict[str, dict[str, object]]  # which pretrained model made what, and how it was used, where one did


def encode(
    items: pd.DataFrame,
    pictures: Sequence[bytes | None],
    raw: Mapping[str, RawEmbedding],
    settings: EncodeContent,
    seed: int,
    device: str,
    log: Log,
    shards: Shards,
    share: Share = ALONE,
) -> Encoded:
    """Text and image embeddings by the encoders that the settings name.

    Args:
        items: of id 1..N, as in `artifacts.Prepared`.
        pictures: picture files of the same items, None where there is none.
        raw: the source's precomputed embeddings, by modality.
        settings: the section `encode_content`.
        seed: of whatever is trained or drawn.
        device: cpu, cuda, ...
        log: called with metrics and the step.
        shards: what a killed run had encoded, and where this one keeps it.
        share: which of several processes this is; what cannot be divided the first one does alone, and all others
            return no embedding.

    Raises:
        DataError: a precomputed embedding is missing, or there are too few pairs to learn from.
        WeightsError: pretrained weights do not load.
    """
    source = Source(items, pictures, raw, settings, seed, device, log, shards, share)
    embeddings = {}
    for modality, encoders, name in (("text", TEXT, settings.text), ("image", IMAGE, settings.image)):
        if share.process == 0 or name in SPREAD:
            embeddings[modality] = encoders[name](source)
    found = {modality: embedding for modality, embedding in embeddings.items() if embedding is not None}
    return Encoded(found, source.models)
