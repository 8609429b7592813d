"""Text and image towers of an open_clip model: loading pretrained weights, and encoding a catalogue with any towers."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mmesid.artifacts.pictures import decode
from mmesid.artifacts.values import Embedding
from mmesid.config import OpenClip
from mmesid.errors import WeightsError

if TYPE_CHECKING:
    from PIL.Image import Image

Log = Callable[[dict[str, float], int], None]

BATCH = 64  # items encoded at a time
CHARACTERS_PER_TOKEN = 16  # at most, on average


class Tokenizer(Protocol):
    """Texts -> (B, S) tokens, padded or cut to S = context_length."""

    @property
    def context_length(self) -> int: ...

    def __call__(self, texts: list[str], /) -> Tensor: ...


class Towers(NamedTuple):
    """A model and what turns texts and pictures into its input."""

    model: Any  # an open_clip model: encode_text (B, S) -> (B, D), encode_image (B, 3, side, side) -> (B, D)
    tokenize: Tokenizer
    preprocess: Callable[["Image"], Tensor]  # picture -> (3, side, side)


def load_pretrained(settings: OpenClip, device: str) -> Towers:
    """Towers with the weights that `model` and `pretrained` name.

    open_clip by itself only warns when it finds no weights and goes on with random ones; here that is an error.

    Args:
        settings: `model` is an open_clip name with a `pretrained` tag or file, or brings its own weights
            (`local-dir:/path`, `hf-hub:name`).
        device: cpu, cuda, ...

    Raises:
        WeightsError: the model is unknown, or its weights are missing, incomplete or of another shape.
    """
    import open_clip

    name, weights = settings.model, settings.pretrained
    bundled = name.startswith((open_clip.factory.LOCAL_DIR_PREFIX, open_clip.factory.HF_HUB_PREFIX))
    if bundled == bool(weights):
        wanted = "null, for the model brings its own weights" if bundled else "a tag or a weights file; null is random"
        raise WeightsError(
            f"encode_content.open_clip.pretrained is {weights!r}, with model {name!r} it must be {wanted}"
        )
    try:
        model, preprocess = open_clip.create_model_from_pretrained(
            name, pretrained=weights, device=device, force_quick_gelu=_is_quick(name, weights)
        )
        tokenize = open_clip.get_tokenizer(name)
    except Exception as error:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise WeightsError(
            f"encode_content.open_clip: model {name!r} with pretrained {weights!r} does not load: "
            f"{str(error).strip()[:500]} (tags of this model: {tags})"
        ) from error
    return Towers(model.eval(), tokenize, preprocess)


def _is_quick(name: str, tag: str | None) -> bool:
    """Whether a tag's weights were trained with QuickGELU, which open_clip only warns of where the model has GELU."""
    import open_clip

    return bool(open_clip.get_pretrained_cfg(name, tag or "").get("quick_gelu"))


@torch.no_grad()
def encode_texts(towers: Towers, texts: Sequence[str], device: str, log: Log) -> Embedding:
    """Unit-length text embedding of every item that has a text.

    Args:
        towers: on `device`.
        texts: of item 1..N; empty where the item has none.
        device: cpu, cuda, ...
        log: called with the progress.
    """
    present = [place for place, text in enumerate(texts) if text]
    parts = []
    for start in range(0, len(present), BATCH):
        batch = [texts[place] for place in present[start : start + BATCH]]
        tokens = towers.tokenize(shorten(batch, towers.tokenize.context_length))
        parts.append(_unit(towers.model.encode_text(tokens.to(device))))
        log({"progress": min(1.0, (start + BATCH) / len(present))}, start // BATCH)
    return scatter(parts, present, len(texts))


@torch.no_grad()
def encode_pictures(towers: Towers, pictures: Sequence[bytes | None], device: str, log: Log) -> Embedding:
    """Unit-length image embedding of every item that has a picture.

    Args:
        towers: on `device`.
        pictures: files of item 1..N, None where the item has none.
        device: cpu, cuda, ...
        log: called with the progress.
    """
    present = [place for place, picture in enumerate(pictures) if picture]
    parts = []
    for start in range(0, len(present), BATCH):
        files = [pictures[place] for place in present[start : start + BATCH]]
        pixels = torch.stack([towers.preprocess(decode(file)) for file in files if file])  # (B, 3, side, side)
        parts.append(_unit(towers.model.encode_image(pixels.to(device))))
        log({"progress": min(1.0, (start + BATCH) / len(present))}, start // BATCH)
    return scatter(parts, present, len(pictures))


def shorten(texts: Sequence[str], context_length: int) -> list[str]:
    """Cut what no tokenizer would keep, so that a text of any length costs little."""
    return [text[: CHARACTERS_PER_TOKEN * context_length] for text in texts]


def scatter(parts: Sequence[Tensor], present: Sequence[int], n_items: int) -> Embedding:
    """Rows of the items that have the modality -> (N + 1, D) with a mask; `present` counts items from 0."""
    found = torch.cat(list(parts)).cpu().float().numpy()
    matrix = np.zeros((n_items + 1, found.shape[1]), dtype=np.float32)
    mask = np.zeros(n_items + 1, dtype=np.bool_)
    rows = np.asarray(present) + 1
    matrix[rows], mask[rows] = found, True
    return Embedding(matrix, mask)


def _unit(features: Tensor) -> Tensor:
    return functional.normalize(features.float(), dim=-1)
