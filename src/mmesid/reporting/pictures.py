"""Pictures of items, small enough to stand inside a page."""

import base64
import io

from PIL import Image

SIDE = 112  # pixels; shown at about half of it, so that it stays sharp on dense screens


def thumbnail(picture: bytes) -> str | None:
    """A picture as a small JPEG `data:` URI on white, None where the bytes are no picture."""
    try:
        with Image.open(io.BytesIO(picture)) as opened:
            image = opened.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    image.thumbnail((SIDE, SIDE))
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image.getchannel("A"))
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=82, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
