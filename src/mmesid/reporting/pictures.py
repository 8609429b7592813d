"""Pictures of items, small enough to stand inside a page."""

import base64
import io

from PIL import Image

from mmesid.artifacts.pictures import decode

SIDE = 112  # pixels; shown at about half of it, so that it stays sharp on dense screens


def thumbnail(picture: bytes) -> str | None:
    """A picture as a small JPEG `data:` URI on white, None where the bytes are no picture."""
    try:
        image = decode(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
