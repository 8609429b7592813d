"""Ids that read without an error and yet mean something else: each is named with a count and a first row."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from mmesid.commands.inspection import inspect
from mmesid.data import files
from mmesid.data.ids import canonical_ids
from mmesid.data.no_values import NO_VALUE
from mmesid.data.tables import Origin
from mmesid.errors import DataError
from tests.data.test_cases import RIGHT, histories, rows, shop, write

__all__ = ["shop"]


def read(*values: str | None) -> tuple[list[str | None], list[str]]:
    column = pa.chunked_array([pa.array(values, pa.large_string())])
    ids, notes = canonical_ids(column, "ids", Origin(["f"], [len(values)]))
    return ids.astype(object).where(ids.notna(), None).to_list(), notes


@pytest.mark.parametrize(
    "word", ["nan", "NaN", "NULL", "null", "None", "NA", "<NA>", "#N/A", "n/a", "undefined", "(null)", "#REF!"]
)
def test_a_word_for_no_value_among_numbers_is_none(word: str) -> None:
    assert read("7", word, "8.0", None, word) == (
        ["7", None, "8", None, None],
        [f"ids with a word for no value among numbers, read as none: 2, the first is {word!r} in f, row 2"],
    )


@pytest.mark.parametrize("values", [("u1", "NA"), ("007", "NA"), ("NA",)])
def test_a_word_for_no_value_among_words_stays_and_is_said(values: tuple[str, ...]) -> None:
    found, (note,) = read(*values)
    assert found == list(values)
    assert note.startswith("ids that may be a word for no value, and stays an id: 1, the first is 'NA' in f, row ")


def test_ids_that_hold_such_a_word_are_ids() -> None:
    assert read("nancy", "Nonesuch", "nan1", "null-7") == (["nancy", "Nonesuch", "nan1", "null-7"], [])
    assert "Nan" in NO_VALUE


def test_control_characters_are_no_part_of_an_id_and_are_said() -> None:
    found, (note,) = read("a", "b\0\0", "c ")
    assert found == ["a", "b", "c"]
    assert note == (
        "ids with white space or invisible characters around it, which is cut off: 2, the first is 'b\\x00\\x00' in f, "
        "row 2"
    )
    found, (note,) = read("a", "1\x07 2")
    assert found == ["a", "1\x07 2"]
    assert note == "ids with invisible characters inside, which stay: 1, the first is '1\\x07 2' in f, row 2"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_an_id_of_several_lines_is_refused_whatever_ends_them(end: str) -> None:
    with pytest.raises(DataError, match="goes over several lines"):
        read("a", f"b{end}c")


def test_users_that_pandas_wrote_as_nan_are_refused_as_nulls_are(shop: Path) -> None:
    taken = [("nan" if n % 9 == 8 else f"{u[1:].lstrip('0') or '0'}.0", i, t) for n, (u, i, t) in enumerate(rows(shop))]
    write(shop, taken)
    frame, (note,) = files.read_interactions(shop)
    assert frame["user_id"].isna().sum() == 2
    assert frame["user_id"][0] == "0"
    assert note.endswith("read as none: 2, the first is 'nan' in interactions.csv, row 9")
    assert "interactions without user_id or item_id: 2" in inspect(shop)[0].warnings


@pytest.mark.parametrize("other", [[5, 6], ["5", "6"], ["a", "b"]])
def test_nan_of_one_part_is_null_beside_parts_of_another_type(other: list[object], shop: Path) -> None:
    (shop / "interactions.csv").unlink()
    (shop / "interactions").mkdir()
    for number, users in enumerate((pa.array([5.0, float("nan")]), pa.array(other))):
        table = pa.table({"user_id": users, "item_id": ["1000", "1007"], "timestamp": [1, 2]})
        pa.parquet.write_table(table, shop / "interactions" / f"part-{number}.parquet")
    found = files.read_interactions(shop).frame["user_id"]
    assert found.fillna("-").to_list() == ["5", "-", *map(str, other)]


@pytest.mark.parametrize("rounded", ["4,12300E+12", "4.123E+12", "4e+12"])
def test_an_id_that_a_spreadsheet_rounded_is_refused_with_either_mark(rounded: str) -> None:
    with pytest.raises(DataError, match=r"f, row 2, column ids: .* a spreadsheet has rounded; 1 of 2 rows"):
        read("7", rounded)


def test_long_numbers_that_end_in_zeros_are_said() -> None:
    found, (note,) = read("76561198000000000", "12", "76561198000000000", "76561197000000000")
    assert len(found) == 4
    assert note.startswith("ids with more than 15 digits, of which all but the first 15 are zeros: 3, the first is '76")
    for healthy in (["76561198000000000", "76561198000000001"], ["123456789012345", "9" * 15], ["f" * 32] * 2):
        assert read(*healthy)[1] == []


def test_an_id_with_and_without_a_fraction_beside_a_word_is_said() -> None:
    found, (note,) = read("12.0", "12", "guest", "13.0", "14")
    assert found == ["12.0", "12", "guest", "13.0", "14"]
    assert note == (
        "ids written with and without a fraction: 1, as '12.0' in f, row 1 and '12' in f, row 2; as not all are "
        "numbers, they stay different ids"
    )
    assert read("1.0", "2.0", "v", "3")[1] == []


def test_whole_floats_of_one_part_are_the_numbers_of_another(shop: Path) -> None:
    taken = rows(shop)
    (shop / "interactions.csv").unlink()
    (shop / "interactions").mkdir()
    for part in (0, 1):
        half = pd.DataFrame(taken[part::2], columns=["user_id", "item_id", "timestamp"])
        half["item_id"] = half["item_id"].astype(float) if part else half["item_id"]
        half.to_parquet(shop / "interactions" / f"part-{part}.parquet")
    assert histories(shop) == RIGHT


def test_ids_that_differ_by_their_unicode_form_are_said() -> None:
    found, (note,) = read("caf\u00e9", "x", "cafe\u0301", "\u03a9", None)
    assert found[:3] == ["caf\u00e9", "x", "cafe\u0301"]
    assert note == (
        "ids that differ by the Unicode form of a letter alone, and stay different ids: 1, as "
        r"'caf\xe9' in f, row 1 and 'cafe\u0301' in f, row 3"
    )
    assert read("caf\u00e9", "cafe", "caf\u00e9", "\u03a9")[1] == []


def test_a_uuid_in_capital_and_in_small_letters_is_said() -> None:
    uuid, other = "9f0a2c4e-1b3d-4e5f-8a9b-0c1d2e3f4a5b", "00000000-0000-4000-8000-00000000000A"
    found, (note,) = read(uuid.upper(), other, uuid, None, uuid.upper())
    assert found[:3] == [uuid.upper(), other, uuid]
    assert note == (
        f"ids written in capital and in small letters: 1, as {uuid.upper()!r} in f, row 1 and {uuid!r} in f, row 3; "
        "they stay different ids"
    )
    assert read("u1", "U1")[1] == [], "short ids may differ so"
    assert read(uuid.upper(), other)[1] == []
