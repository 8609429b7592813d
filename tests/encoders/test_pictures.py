import io

import pytest
from PIL import Image

from mmesid.encoders.pictures import open_picture, usable


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind)
    return buffer.getvalue()


def test_pictures_that_do_not_open_are_absent():
    whole = encoded(Image.radial_gradient("L").convert("RGB"), "JPEG")
    assert usable([whole, whole[:200], b"not a picture", None, b""]) == [whole, None, None, None, None]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK"])
def test_every_mode_opens_as_rgb(mode):
    picture = Image.new("L", (4, 4), 255).convert(mode) if mode != "CMYK" else Image.new("CMYK", (4, 4))
    opened = open_picture(encoded(picture, "TIFF" if mode == "CMYK" else "PNG"))
    assert opened.mode == "RGB"
    assert opened.getpixel((0, 0)) == (255, 255, 255)


def test_what_is_transparent_becomes_white():
    assert open_picture(encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 0)))).getpixel((1, 1)) == (255, 255, 255)
