import io

import pandas as pd
import pytest
from PIL import Image

from mmesid.encoders import items as shown


def test_texts_join_the_text_columns_in_order_and_leave_out_what_is_empty():
    table = pd.DataFrame(
        {
            "item_id": ["a", "b", "c", "d"],
            "title": ["Oak lamp ", None, "", "灯"],
            "image": [b"x", None, None, None],
            "image_name": ["a.png", None, None, None],
            "brand": ["Norr", "Norr", "  ", None],
            "file": ["f"] * 4,
            "row": [1, 2, 3, 4],
        }
    )
    assert shown.texts(table) == ["Oak lamp. Norr", "Norr", "", "灯"]


def test_a_table_without_text_or_picture_columns_has_neither():
    table = pd.DataFrame({"item_id": ["a", "b"], "file": ["f", "f"], "row": [1, 2]})
    assert shown.texts(table) == ["", ""]
    assert shown.pictures(table) == [None, None]


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind)
    return buffer.getvalue()


def test_pictures_that_do_not_open_are_absent():
    whole = encoded(Image.radial_gradient("L").convert("RGB"), "JPEG")
    table = pd.DataFrame({"image": [whole, whole[:200], b"not a picture", None, b""]})
    assert shown.pictures(table) == [whole, None, None, None, None]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK"])
def test_every_mode_opens_as_rgb(mode):
    picture = Image.new("L", (4, 4), 255).convert(mode) if mode != "CMYK" else Image.new("CMYK", (4, 4))
    opened = shown.open_picture(encoded(picture, "TIFF" if mode == "CMYK" else "PNG"))
    assert opened.mode == "RGB"
    assert opened.getpixel((0, 0)) == (255, 255, 255)


def test_what_is_transparent_becomes_white():
    assert shown.open_picture(encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 0)))).getpixel((1, 1)) == (255, 255, 255)
