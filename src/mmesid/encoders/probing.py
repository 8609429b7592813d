"""A first look at an encoder that has loaded: texts and pictures of no catalogue, which one that cannot serve fails."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mmesid.artifacts.hub import knows_words
from mmesid.errors import MmesidError, first_line

SHORT, LONG = "oak", "a red wool scarf for cold days, a blue bottle of rose shampoo and a lamp of glass"
SHAPES = ((40, 30), (20, 60))  # of the drawn pictures, (width, height)
APART = {torch.bfloat16: 0.1}  # of a vector's length, what rounding may change
EXACT = 0.01  # likewise in any other precision


class Reader(Protocol):
    """A model that reads texts."""

    @property
    def model(self) -> Any: ...

    @property
    def tokenizer(self) -> Any: ...

    def vectors(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Of a few texts, (B, D)."""
        ...


class Viewer(Protocol):
    """A model that looks at pictures."""

    @property
    def model(self) -> Any: ...

    def prepare(self, pictures: Sequence[bytes], /) -> Any:
        """Picture files as the model's input."""
        ...

    def vectors(self, inputs: Any, /) -> NDArray[np.float32]:
        """Of a few prepared pictures, (B, D)."""
        ...


def try_texts(reader: Reader) -> None:
    """Encode a short text by itself and beside a long one.

    Raises:
        ValueError: the tokenizer knows no words or more than the model, no text can be encoded, or padding counts.
    """
    if not knows_words(reader.tokenizer):
        raise ValueError("its tokenizer knows no words: put its tokenizer files beside the weights")
    with _attempt("a text"):
        alone, beside = reader.vectors([SHORT]), reader.vectors([SHORT, LONG])
    refuse_unknown_tokens(reader.tokenizer, reader.model)
    if (change := _apart(alone[0], beside[0])) > APART.get(reader.model.dtype, EXACT):
        raise ValueError(
            f"the vector of a text changes by {change:.0%} beside a longer one: it does not leave padding out"
        )


def try_pictures(viewer: Viewer) -> None:
    """Encode two pictures of different shape together, and the first again by itself.

    Raises:
        ValueError: they cannot be encoded, or the vector is another one the second time.
    """
    pictures = [_draw(*shape) for shape in SHAPES]
    with _attempt("two pictures of different shape"):
        both, again = (viewer.vectors(viewer.prepare(some)) for some in (pictures, pictures[:1]))
    if len(both) != len(pictures):
        raise ValueError(f"it gives {len(both)} vectors for {len(pictures)} pictures")
    if (change := _apart(again[0], both[0])) > APART.get(viewer.model.dtype, EXACT):
        raise ValueError(f"the vector of a picture changes by {change:.0%} when it is encoded again")


def refuse_unknown_tokens(tokenizer: Any, model: Any) -> None:
    """A token without an embedding would end the encoding; special ones stand in no text, and may lack it.

    Raises:
        ValueError: the tokenizer has such.
    """
    known = getattr(model.config.get_text_config(), "vocab_size", None) or len(tokenizer)
    if len(tokenizer) <= known:
        return
    special = {place for place, token in tokenizer.added_tokens_decoder.items() if token.special}
    if beyond := sorted(set(tokenizer.get_vocab().values()) - special - set(range(known))):
        first = tokenizer.convert_ids_to_tokens(beyond[0])
        raise ValueError(
            f"{len(beyond)} of its tokenizer's tokens (first: {first!r}) lie beyond the {known} that config.json "
            "counts: take both from one checkpoint"
        )


@contextmanager
def _attempt(what: str) -> Iterator[None]:
    """Whatever a library raises over what it should encode, as one kind; a memory that is full is another matter."""
    try:
        yield
    except (MmesidError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise ValueError(f"it does not encode {what}: {first_line(error)}") from error


def _apart(vector: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Length of the difference, as part of the first one's."""
    return float(np.linalg.norm(vector - other)) / max(float(np.linalg.norm(vector)), 1e-12)


def _draw(width: int, height: int) -> bytes:
    """A picture file with colors that run from corner to corner."""
    from PIL import Image

    across, down = np.linspace(0, 255, width), np.linspace(0, 255, height)[:, None]
    canvas = np.stack([across + 0 * down, 0 * across + down, 255 - (across + down) / 2], axis=-1)  # (H, W, 3)
    file = io.BytesIO()
    Image.fromarray(canvas.astype(np.uint8)).save(file, format="PNG")
    return file.getvalue()
