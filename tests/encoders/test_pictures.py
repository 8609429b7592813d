import io

from PIL import Image

from mmesid.encoders.pictures import usable


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind)
    return buffer.getvalue()


def test_pictures_that_do_not_open_are_absent():
    whole = encoded(Image.radial_gradient("L").convert("RGB"), "JPEG")
    assert usable([whole, whole[:200], b"not a picture", None, b""]) == [whole, None, None, None, None]
