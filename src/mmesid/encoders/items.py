"""What an item shows: its text and its picture, as the content encoders take them."""

import io
import warnings
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from PIL.Image import Image

NOT_TEXT = {"item_id", "image", "image_name", "file", "row"}


def texts(items: pd.DataFrame) -> list[str]:
    """Each item's text columns joined, in the table's order (title first); empty where the item has none.

    Args:
        items: as in `artifacts.Prepared`.
    """
    columns = [items[name] for name in items.columns if name not in NOT_TEXT]
    rows = zip(*columns, strict=True) if columns else [()] * len(items)
    return [". ".join(part.strip() for part in row if isinstance(part, str) and part.strip()) for row in rows]


def pictures(items: pd.DataFrame) -> list[bytes | None]:
    """Each item's picture file, None where it has none or the file does not open (`validate` has counted those).

    Args:
        items: as in `artifacts.Prepared`.
    """
    if "image" not in items:
        return [None] * len(items)
    return [value if isinstance(value, bytes) and _opens(value) else None for value in items["image"]]


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
