"""What a picture file shows: one way to decode it, so that gate, encoder and report judge and show the same picture."""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

WARNINGS = threading.Lock()  # Python's filters are one for all threads, and the gate decodes in several
DEEP = ("I", "F")  # modes of one channel with more than 8 bits; "I;16" and its kin begin with I


def decode(content: bytes) -> "Image":
    """A picture as RGB, as it is meant to be seen.

    It is turned upright by its EXIF orientation, more than 8 bits a channel are scaled down to 8, and what is
    transparent becomes white.

    Raises:
        OSError, ValueError, SyntaxError: the file is damaged or no picture.
        Image.DecompressionBombError: it has more pixels than anybody means.
    """
    from PIL import Image

    with _quietly():
        opened = Image.open(io.BytesIO(content))
    opened.load()
    upright = _upright(opened)
    if upright.mode.startswith(DEEP):
        upright = _eight_bits(upright)
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return upright.convert("RGB")


@contextmanager
def _quietly() -> Iterator[None]:
    """Without Pillow's warnings of large pictures and odd EXIF data."""
    with WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _upright(picture: "Image") -> "Image":
    """Turned as its EXIF data says; damaged EXIF data says nothing."""
    from PIL import ImageOps

    try:
        with _quietly():
            picture.getexif()  # kept by the picture
        return ImageOps.exif_transpose(picture)
    except Exception:  # whatever the damaged bytes make the reader trip over
        return picture


def _eight_bits(picture: "Image") -> "Image":
    """One deep channel as gray of 8 bits. Pillow's own conversion cuts every value above 255 to white.

    The largest value tells the depth. Within 8 bits nothing changes; of 16 bits the upper 8 remain, as Pillow keeps
    them of a color picture; above, and for fractions up to 1, the largest value becomes white.
    """
    from PIL import Image

    values = np.nan_to_num(np.asarray(picture, dtype=np.float64), posinf=0, neginf=0).clip(min=0)
    largest = float(values.max(initial=0))
    if largest >= 1 << 16 or (picture.mode == "F" and 0 < largest <= 1):
        values = values * (255 / largest)
    elif largest >= 1 << 8:
        values = values / (1 << 8)
    return Image.fromarray(values.clip(max=255).astype(np.uint8))
