"""JSON with the small faults that exports leave: each is read as it is meant, or refused clearly."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mmesid.data import files, object_lines
from tests.data.test_cases import RIGHT, histories, rows, shop
from tests.data.test_exports import refusal
from tests.data.test_text_faults import NAMES, items

__all__ = ["shop"]


def objects(folder: Path) -> list[dict[str, str]]:
    """The interactions as objects; their file is gone."""
    taken = [dict(zip(NAMES, row, strict=True)) for row in rows(folder)]
    (folder / "interactions.csv").unlink()
    return taken


@pytest.mark.parametrize("write", [json.dumps, lambda row: repr(row).replace("\\\\", "\\")])
def test_half_a_character_is_replaced(write: Callable[[object], str], shop: Path) -> None:
    whole, half = r"\ud83d\ude00", r"\ud83d"
    lines = [write({"item_id": "1", "title": "Lamp END"}), write({"item_id": "2", "title": "Shade END"})]
    text = lines[0].replace("END", half) + "\n" + lines[1].replace("END", whole) + "\n"
    items(shop, text, "items.jsonl")
    assert files.read_items(shop).frame["title"].to_list() == ["Lamp \ufffd", "Shade \U0001f600"]


def test_half_a_character_in_a_column_that_is_not_read_does_not_matter(shop: Path) -> None:
    lines = [json.dumps({**row, "comment": "cut \ud83d"}) for row in objects(shop)]
    (shop / "interactions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert histories(shop) == RIGHT


@pytest.mark.parametrize("number", ["nan", "-inf", "inf", "NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_null(number: str, shop: Path) -> None:
    quote = '"' if number[-1] in "Ny" else "'"
    text = "{'item_id': '1', 'title': NUMBER, 'kind': 'NaN'}\n{'item_id': '2', 'title': 'b', 'kind': 'k'}\n"
    items(shop, text.replace("NUMBER", number).replace("'", quote), "items.jsonl")
    frame = files.read_items(shop).frame
    assert frame["title"].isna().to_list() == [True, False]
    assert frame["kind"].to_list() == ["NaN", "k"]


def test_a_list_of_columns_that_is_long_is_cut(shop: Path) -> None:
    table = pd.DataFrame(objects(shop) * 20)
    for orient in ("index", "split"):
        (shop / "interactions.json").write_text(table.to_json(orient=orient), encoding="utf-8")
        said = refusal(shop)
        assert "found one that holds the whole table: " in said
        assert "orient='records', lines=True" in said
        assert len(said) < 700
    assert "58, 59 and 420 more" in refusal_of(shop, table.to_json(orient="index"))


def refusal_of(folder: Path, text: str) -> str:
    (folder / "interactions.json").write_text(text, encoding="utf-8")
    return refusal(folder)


@pytest.mark.parametrize(
    "join",
    [
        lambda taken: "".join(map(json.dumps, taken)),
        lambda taken: ",\n".join(map(json.dumps, taken)),
        lambda taken: "\n".join(json.dumps(row, indent=2) for row in taken),
    ],
    ids=["glued", "commas", "indented"],
)
def test_objects_are_read_whatever_stands_between_them(join: Callable[[list[dict[str, str]]], str], shop: Path) -> None:
    (shop / "interactions.json").write_text(join(objects(shop)), encoding="utf-8")
    assert histories(shop) == RIGHT


def test_half_a_character_of_a_release_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text(r'{"asin": "1", "title": "cut \ud83d", "rank": ["\ud83d\ude00"]}')
    (line,) = object_lines.read_lines(tmp_path / "meta.json")
    assert line.found == {"asin": "1", "title": "cut \ufffd", "rank": ["\U0001f600"]}
