"""Pictures of items, as the content encoders take them."""

from collections.abc import Sequence

from mmesid.artifacts.pictures import decode


def usable(pictures: Sequence[bytes | None]) -> list[bytes | None]:
    """Each item's picture file, None where it has none or the file does not open (`validate` has counted those)."""
    return [picture if picture is not None and _opens(picture) else None for picture in pictures]


def _opens(content: bytes) -> bool:
    from PIL import Image

    try:
        decode(content)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return True
