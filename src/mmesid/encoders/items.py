"""What an item shows: its text and its picture, as the content encoders take them."""

import io
import warnings

import pandas as pd
from PIL import Image

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


def open_picture(content: bytes) -> Image.Image:
    """Decode a picture as RGB; what is transparent becomes white.

    Raises:
        OSError: the file is damaged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        picture: Image.Image = Image.open(io.BytesIO(content))
        if picture.mode in ("RGBA", "LA", "PA", "P"):
            layer = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        return picture.convert("RGB")


def _opens(content: bytes) -> bool:
    try:
        open_picture(content)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return True
