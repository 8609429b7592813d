"""What an item says of itself: its text columns, its text as one, its title; blanks say nothing."""

import pandas as pd
import pytest

from mmesid.artifacts.items import text_columns, texts, titles


@pytest.fixture
def items() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "item_id": ["a", "b", "c", "d", "e"],
            "title": ["Oak lamp ", None, "", "灯", float("nan")],
            "image": [b"x", None, None, None, None],
            "image_name": ["a.png", None, None, None, None],
            "brand": ["Norr", "Norr", "  ", None, "\t\n"],
            "file": ["f"] * 5,
            "row": [1, 2, 3, 4, 5],
        }
    )


def test_text_is_what_is_neither_id_nor_picture_nor_origin(items: pd.DataFrame) -> None:
    assert text_columns(items) == ["title", "brand"]
    assert text_columns(items.drop(columns=["image", "file", "row"])) == ["title", "brand"]


def test_texts_join_the_columns_in_order_and_leave_out_what_is_blank(items: pd.DataFrame) -> None:
    assert texts(items) == ["Oak lamp. Norr", "Norr", "", "灯", ""]
    assert texts(items[["item_id", "brand", "title"]])[0] == "Norr. Oak lamp"


def test_the_separator_can_be_chosen(items: pd.DataFrame) -> None:
    assert texts(items, separator="\n")[:2] == ["Oak lamp\nNorr", "Norr"]


def test_a_title_is_the_first_text_that_is_not_blank_else_the_id(items: pd.DataFrame) -> None:
    assert titles(items) == ["Oak lamp", "Norr", "c", "灯", "e"]


def test_items_without_text_columns_have_their_ids_alone() -> None:
    table = pd.DataFrame({"item_id": ["a", 7], "file": ["f", "f"], "row": [1, 2]})
    assert texts(table) == ["", ""]
    assert titles(table) == ["a", "7"]


def test_a_table_of_pandas_own_strings_says_the_same(items: pd.DataFrame) -> None:
    typed = items.astype({"title": "string", "brand": "str"})
    assert texts(typed) == texts(items)
    assert titles(typed) == titles(items)


def test_no_items_have_no_texts(items: pd.DataFrame) -> None:
    assert texts(items[:0]) == titles(items[:0]) == []
