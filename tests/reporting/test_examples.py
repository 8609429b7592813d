import base64
import io
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from mmesid.reporting import examples
from mmesid.reporting.pictures import SIDE, thumbnail

Chosen = list[dict[str, Any]]
Pictures = list[bytes | None]


def test_the_target_is_marked_where_it_was_recommended(chosen: Chosen, items: pd.DataFrame, pictures: Pictures) -> None:
    found, missed = examples.build(chosen, items, pictures, 5, 5)
    assert [tile.target for tile in found.recommended] == [False, True, False]
    assert found.hit == 2
    assert missed.hit is None
    assert missed.target.title == "First"


def test_limits_hold(chosen: Chosen, items: pd.DataFrame, pictures: Pictures) -> None:
    (example,) = examples.build(chosen, items, pictures, users=1, recommendations=1)
    assert len(example.recommended) == 1
    assert example.hit is None


def test_the_latest_items_are_shown_the_rest_counted(chosen: Chosen, items: pd.DataFrame, pictures: Pictures) -> None:
    example = examples.build(chosen, items, pictures, 1, 3)[0]
    assert len(example.history) == examples.SHOWN_HISTORY
    assert example.earlier == 8 - examples.SHOWN_HISTORY
    assert example.history[-1].title == "d"


def test_a_title_falls_back_to_text_then_to_the_id(chosen: Chosen, items: pd.DataFrame, pictures: Pictures) -> None:
    example = examples.build(chosen, items, pictures, 1, 3)[0]
    assert [tile.title for tile in example.history[-2:]] == ["Text of c", "d"]


def test_what_is_no_picture_is_no_thumbnail(chosen: Chosen, items: pd.DataFrame, pictures: Pictures) -> None:
    shown = [tile.picture for tile in examples.build(chosen, items, pictures, 1, 3)[0].history[-4:]]
    assert [picture is not None for picture in shown] == [True, False, False, True]


def test_a_thumbnail_is_small_and_keeps_the_shape(picture: bytes) -> None:
    uri = thumbnail(picture)
    assert uri is not None
    kind, _, content = uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (SIDE, SIDE // 2)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n truncated"])
def test_bytes_that_do_not_open_give_no_thumbnail(content: bytes) -> None:
    assert thumbnail(content) is None


def test_a_truncated_picture_gives_no_thumbnail(picture: bytes) -> None:
    assert thumbnail(picture[: len(picture) // 2]) is None
