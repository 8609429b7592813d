"""A picture file as it is meant to be seen: upright, 8 bits, on white."""

import io

import numpy as np
import pytest
from PIL import Image

from mmesid.artifacts.pictures import decode
from mmesid.data.checks import picture_fault

RAMP = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (16, 1))  # 64 grays from 0 to 252, 16 rows


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def grays(content: bytes) -> np.ndarray:
    """The red channel of the decoded picture."""
    return np.asarray(decode(content))[:, :, 0]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK"])
def test_every_mode_opens_as_rgb(mode: str) -> None:
    picture = Image.new("L", (4, 4), 255).convert(mode) if mode != "CMYK" else Image.new("CMYK", (4, 4))
    opened = decode(encoded(picture, "TIFF" if mode == "CMYK" else "PNG"))
    assert opened.mode == "RGB"
    assert opened.getpixel((0, 0)) == (255, 255, 255)


def test_what_is_transparent_becomes_white() -> None:
    assert decode(encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 0)))).getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize("step", [256, 257])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_show_the_same_picture_as_eight(step: int, kind: str) -> None:
    content = encoded(Image.fromarray(RAMP.astype(np.uint16) * step), kind)
    assert Image.open(io.BytesIO(content)).mode.startswith("I")
    assert np.array_equal(grays(content), RAMP)
    assert picture_fault(content, 8) is None


def test_sixteen_bits_that_hold_values_of_eight_are_not_black() -> None:
    assert np.array_equal(grays(encoded(Image.fromarray(RAMP.astype(np.uint16)))), RAMP)


def test_fractions_and_large_values_are_scaled_to_their_largest() -> None:
    for values in (RAMP / 252, RAMP.astype(np.float64) * 1e6):
        content = encoded(Image.fromarray(values.astype(np.float32)), "TIFF")
        assert grays(content).max() == 255
        assert grays(content)[0, 32] == int(255 * 128 / 252)


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown, the picture stands
    content = encoded(Image.fromarray(RAMP), "JPEG", exif=exif, quality=95)
    assert decode(content).size == (16, 64)
    assert grays(content)[0].max() < 10  # the dark left side is on top now


def test_damaged_exif_says_nothing() -> None:
    content = encoded(Image.fromarray(RAMP), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09cut")
    assert decode(content).size == (64, 16)


def test_a_transparent_palette_colour_is_white() -> None:
    picture = Image.fromarray(RAMP).convert("P")
    content = encoded(picture, transparency=0)
    assert decode(content).getpixel((0, 0)) == (255, 255, 255)
    assert decode(content).getpixel((40, 0)) != (255, 255, 255)


def test_a_shape_that_only_its_transparency_shows_is_a_picture() -> None:
    black = Image.new("RGBA", (16, 16))
    black.paste((0, 0, 0, 255), (4, 4, 12, 12))
    assert picture_fault(encoded(black), 8) is None
    assert picture_fault(encoded(Image.new("RGBA", (16, 16), (9, 9, 9, 0))), 8) == "a single color: shows nothing"
