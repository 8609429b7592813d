"""Pictures of items, as the content encoders take them."""

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def usable(pictures: Sequence[bytes | None]) -> list[bytes | None]:
    """Each item's picture file, None where it has none or the file does not open (`validate` has counted those)."""
    return [picture if picture is not None and _opens(picture) else None for picture in pictures]


def open_picture(content: bytes) -> "Image":
    """Decode a picture as RGB; what is transparent becomes white.

    Raises:
        OSError: the file is damaged.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        opened = Image.open(io.BytesIO(content))
        if opened.mode in ("RGBA", "LA", "PA", "P"):
            layer = opened.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
        return opened.convert("RGB")


def _opens(content: bytes) -> bool:
    from PIL import Image

    try:
        open_picture(content)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return True
