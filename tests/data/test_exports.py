"""Catalogues as databases, spreadsheets and table formats export them: each is read rightly or refused by its name."""

import decimal
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from mmesid.artifacts.items import canonical_id
from mmesid.artifacts.source import catalogue_files
from mmesid.commands.inspection import inspect
from mmesid.data import files
from mmesid.data.embedding_files import read_embedding
from mmesid.data.expectations import judge
from mmesid.data.formats import How
from mmesid.data.ids import canonical_ids
from mmesid.data.joins import explain_join
from mmesid.data.pictures import list_pictures
from mmesid.data.tables import Origin
from mmesid.errors import DataError
from tests.data import test_expectations as gate
from tests.data.test_cases import RIGHT, histories, rows, shop, write

__all__ = ["shop"]


def parts(folder: Path, name: str) -> Path:
    """The interactions as one Parquet file inside a folder of parts."""
    place = folder / "interactions" / name
    place.mkdir(parents=True)
    table = pd.DataFrame(rows(folder), columns=["user_id", "item_id", "timestamp"])
    table.to_parquet(place / "part-0.parquet", index=False)
    (folder / "interactions.csv").unlink()
    return place / "part-0.parquet"


def refusal(folder: Path, how: How | None = None) -> str:
    with pytest.raises(DataError) as caught:
        files.read(folder, {}, how or How())
    return str(caught.value)


def ids_of(*values: str) -> tuple[list[str], list[str]]:
    found, notes = canonical_ids(pa.chunked_array([pa.array(values)]), "ids", Origin(["f"], [len(values)]))
    return found.to_list(), notes


# Folders of parts


def test_a_folder_gives_no_column_that_the_file_has(shop: Path) -> None:
    parts(shop, "user_id=3")
    assert histories(shop) == RIGHT


def test_folders_outside_a_catalogue_are_no_data(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outer = tmp_path_factory.mktemp("outer") / "title=final" / "year=2024"
    outer.parent.mkdir()
    for name in ("interactions", "items"):
        pd.read_csv(shop / f"{name}.csv", dtype=str).to_parquet(shop / f"{name}.parquet")
        (shop / f"{name}.csv").unlink()
    shop.rename(outer)
    items = files.read_items(outer).frame
    assert items["title"][0] == "Lamp 0"
    assert "year" not in items
    outer.rename(shop)


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_a_folder_gives_the_column_that_its_files_lack(ending: str, shop: Path) -> None:
    table = pd.DataFrame(rows(shop), columns=["user_id", "item_id", "timestamp"])
    (shop / "interactions.csv").unlink()
    for user, taken in table.groupby("user_id"):
        place = shop / "interactions" / f"uid=0{user}%2F"
        place.mkdir(parents=True)
        rest = taken.drop(columns="user_id")
        path = place / f"part-0.{ending}"
        if ending == "jsonl":
            rest.to_json(path, orient="records", lines=True)
        else:
            getattr(rest, f"to_{ending}")(path, index=False)
    frame = files.read_interactions(shop, How(columns={"user_id": "uid"})).frame
    assert frame["user_id"].unique().tolist() == [f"0{user}/" for user in RIGHT]
    assert frame["item_id"].to_list() == table["item_id"].to_list()


def test_a_folder_of_nulls_is_null(shop: Path) -> None:
    path = parts(shop, "user_id=__HIVE_DEFAULT_PARTITION__")
    pd.read_parquet(path).drop(columns="user_id").to_parquet(path)
    assert files.read_interactions(shop).frame["user_id"].isna().all()


@pytest.mark.parametrize(
    ("kind", "log"), [("Delta", "_delta_log/0.json"), ("Iceberg", "metadata/v1.metadata.json"), ("Hudi", ".hoodie/a")]
)
def test_a_table_with_a_log_is_refused_by_its_name(kind: str, log: str, shop: Path) -> None:
    parts(shop, "data")
    place = shop / "interactions" / log
    place.parent.mkdir()
    place.write_text("{}", encoding="utf-8")
    assert f"is a {kind} table" in refusal(shop)


def test_parts_without_a_byte_are_passed_over(shop: Path) -> None:
    path = parts(shop, "a")
    (path.parent / "part-1.parquet").touch()
    assert histories(shop) == RIGHT
    path.unlink()
    assert "is a folder without a file that holds anything" in refusal(shop)


# Links


def test_pictures_behind_a_link_are_seen_and_loops_end(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = tmp_path_factory.mktemp("store")
    (store / "1000.jpg").write_bytes(b"x")
    (shop / "images").mkdir()
    (shop / "images" / "all").symlink_to(store)
    (store / "again").symlink_to(store)
    (shop / "latest").symlink_to(".")
    assert list_pictures(shop) == ["all/1000.jpg"]
    assert [path.relative_to(shop).as_posix() for path in catalogue_files(shop)] == [
        "images/all/1000.jpg",
        "interactions.csv",
        "items.csv",
    ]


def test_a_folder_called_much_like_images_is_named(shop: Path) -> None:
    (shop / "Photos").mkdir()
    assert (
        "no picture is found, but there is Photos: pictures lie in images/ or images.zip" in inspect(shop)[0].warnings
    )


def test_a_name_that_is_not_utf_8_is_refused(shop: Path) -> None:
    (shop / "images").mkdir()
    Path(os.fsdecode(os.fsencode(shop / "images") + b"/caf\xe9.jpg")).touch()
    assert r"images holds b'caf\xe9.jpg', a name that is not UTF-8; rename it" in refusal(shop)


# Ids


def test_ids_that_look_alike_differ_by_their_unicode_form() -> None:
    said = explain_join(pd.Series(["caf\u00e9-20"], dtype="str"), pd.Series(["cafe\u0301-20"], dtype="str"))
    assert said is not None
    assert said.endswith(
        r"'caf\xe9-20' in interactions, 'cafe\u0301-20' in items; they differ by the Unicode form of a letter"
    )


def test_a_few_ids_that_look_alike_are_told_too() -> None:
    plain = [str(number) for number in range(100)]
    wanted, known = (pd.Series([*plain, last], dtype="str") for last in ("caf\u00e9-20", "cafe\u0301-20"))
    assert str(explain_join(wanted, known)).endswith("they differ by the Unicode form of a letter")
    assert explain_join(wanted, known[:-1]) is None


def test_the_gate_tells_a_few_ids_that_look_alike(shop: Path) -> None:
    write(shop, [("u00", "caf\u00e9", "1608662701"), *rows(shop)])
    with (shop / "items.csv").open("a", encoding="utf-8") as file:
        file.write("cafe\u0301,Lamp 9,amber\n")
    verdict = judge(files.read(shop, {}), gate.settings(min_users=1, min_items=1, min_interactions=1))
    assert verdict.summary["notes"][-1].endswith("they differ by the Unicode form of a letter")


def test_points_between_thousands_are_no_fractions() -> None:
    found, (note,) = ids_of("1", "1.000", "999")
    assert found == ["1", "1.000", "999"]
    assert note.startswith("ids beside plain numbers may have points between thousands: 1, as '1.000' in f, row 2")
    assert ids_of("1.000", "2.000") == (["1", "2"], [])
    assert ids_of("1", "2.0", "1198.000") == (["1", "2", "1198"], [])


def test_decimals_are_written_out_with_their_zero() -> None:
    numbers = pa.array([decimal.Decimal(n) for n in (0, 1, 12)], pa.decimal128(38, 18))
    assert canonical_ids(numbers, "ids", Origin(["f"], [3]))[0].tolist() == ["0", "1", "12"]


def test_invisible_characters_around_an_id_are_cut_off_and_inside_are_said() -> None:
    found, notes = ids_of("u1", "\ufeffu1\u200b ", "u\u200b1", "\u200b")
    assert found[:3] == ["u1", "u1", "u\u200b1"]
    assert pd.isna(found[3])
    assert notes == [
        "ids with white space or invisible characters around it, which is cut off: 2, the first is "
        r"'\ufeffu1\u200b ' in f, row 2",
        r"ids with invisible characters inside, which stay: 1, the first is 'u\u200b1' in f, row 3",
    ]
    assert canonical_id("\ufeffu1\u200b ") == "u1"


@pytest.mark.parametrize(("value", "what"), [('{"id": "u1"}', "an object"), ('["a", "b"]', "a list")])
def test_an_id_that_is_no_single_value_is_refused(value: str, what: str, shop: Path) -> None:
    (shop / "interactions.csv").unlink()
    row = f'{{"user_id": {value}, "item_id": "1000", "timestamp": 1608662701}}\n'
    (shop / "interactions.jsonl").write_text(row, encoding="utf-8")
    assert f"interactions.jsonl, row 1, column interactions: user_id: expected one id, found {what}, " in refusal(shop)
    assert ids_of("[1408]", "{x}", "[a, b]") == (["[1408]", "{x}", "[a, b]"], [])


def test_a_column_of_objects_is_not_advised(shop: Path) -> None:
    (shop / "interactions.csv").unlink()
    row = '{"user": {"id": "u1"}, "item_id": "1000", "timestamp": 1608662701}\n'
    (shop / "interactions.jsonl").write_text(row, encoding="utf-8")
    assert "user holds objects or lists" in refusal(shop)


def test_values_of_extended_json_are_plain(shop: Path) -> None:
    (shop / "interactions.csv").unlink()
    row = {
        "user_id": {"$numberLong": "7"},
        "item_id": {"$oid": "5f00"},
        "timestamp": {"$date": {"$numberLong": "1608662701000"}},
    }
    (shop / "interactions.jsonl").write_text(json.dumps(row), encoding="utf-8")
    frame = files.read_interactions(shop).frame
    assert frame.iloc[0, :3].to_list() == ["7", "5f00", 1608662701 * 10**9]


def test_a_backslash_and_n_are_null(shop: Path) -> None:
    write(shop, [(r"\N", "1000", "1608662701"), *rows(shop)])
    frame = files.read_interactions(shop).frame
    assert frame["user_id"].isna().to_list() == [True, *[False] * (len(frame) - 1)]


# Text of spreadsheets and databases


def test_blank_rows_are_no_rows(shop: Path) -> None:
    text = (shop / "interactions.csv").read_text(encoding="utf-8").replace(",", ";").splitlines(keepends=True)
    (shop / "interactions.csv").write_text("".join([*text[:3], ";;\n", *text[3:], ";;\n;;\n"]), encoding="utf-8")
    assert histories(shop) == RIGHT
    write(shop, [("u1", "1000", "")])
    assert "found nothing" in refusal(shop)


@pytest.mark.parametrize("hint", ["sep=;", '"sep=;"', "SEP=;\r"])
def test_a_line_that_tells_excel_the_delimiter_is_no_header(hint: str, shop: Path) -> None:
    text = (shop / "interactions.csv").read_text(encoding="utf-8").replace(",", ";")
    for encoding in ("utf-8-sig", "utf-16"):
        (shop / "interactions.csv").write_text(f"{hint}\n{text}", encoding=encoding)
        assert histories(shop) == RIGHT
    (shop / "interactions.csv").write_text(f"{hint}\n{text}1;2\n", encoding="utf-8")
    assert "interactions.csv, line 27: expected 3 fields, found 2" in refusal(shop)


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"PK\x03\x04", "a workbook or a ZIP"),
        (b"PAR1", "Parquet"),
        (b"\x28\xb5\x2f\xfd", "packed with zstd"),
        (b"ORC", "ORC"),
        (b"<!DOCTYPE html>", "a web page, whatever its name says; fetch the file anew"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS in place of the file"),
        (b"items.csv".ljust(257, b"\0") + b"ustar", "a tar archive"),
        (gzip.compress(gzip.compress(b"user_id", mtime=0), mtime=0), "packed with gzip twice"),
    ],
)
@pytest.mark.parametrize("name", ["interactions.csv", "interactions.json"])
def test_what_is_no_text_is_called_by_its_name(start: bytes, what: str, name: str, shop: Path) -> None:
    (shop / "interactions.csv").unlink()
    (shop / name).write_bytes(start + b"\0")
    assert f"{name} is {what}" in refusal(shop)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"user_id,item_id,timestamp\n", "is no Parquet file, whatever its name says: it begins with b'user_id,"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (b"PAR1" + b"\0" * 99, "breaks off: a Parquet file ends with PAR1"),
        (b"PAR", "is no Parquet file"),
    ],
)
def test_what_is_no_parquet_is_called_by_its_name(content: bytes, what: str, shop: Path) -> None:
    (shop / "interactions.csv").unlink()
    (shop / "interactions.parquet").write_bytes(content)
    assert f"interactions.parquet {what}" in refusal(shop)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("interactions.csv.zip", "unpack it, or pack it with gzip"),
        ("interactions.tar.gz", "unpack it, or pack it with gzip"),
        ("Interactions.XLSX", "save its sheet as CSV"),
        ("interactions.feather", "export the table as CSV or Parquet"),
    ],
)
def test_a_table_of_a_kind_that_is_not_read_is_told_what_to_do(name: str, says: str, shop: Path) -> None:
    (shop / "interactions.csv").rename(shop / name)
    assert f"{name} is not read: {says}. `mmesid add" in refusal(shop)
    assert refusal(shop, How(interactions=name)).endswith(f"Of this one: {says}")


def test_utf_32_is_known_by_its_mark(shop: Path) -> None:
    text = (shop / "interactions.csv").read_text(encoding="utf-8")
    for encoding in ("utf-32", "utf-16"):
        (shop / "interactions.csv").write_text(text, encoding=encoding)
        assert histories(shop) == RIGHT


def test_fields_between_spaces_are_told_what_may_separate_them(shop: Path) -> None:
    text = (shop / "interactions.csv").read_text(encoding="utf-8").replace(",", " ").partition("\n")[2]
    (shop / "interactions.csv").unlink()
    (shop / "interactions.txt").write_text(text, encoding="utf-8")
    columns = {"user_id": 1, "interactions.item_id": 2, "timestamp": 3}
    assert "Separate fields by commas or tabs, not by spaces" in refusal(shop, How(columns=columns))


def test_a_line_longer_than_usual_is_read(shop: Path) -> None:
    (shop / "items.csv").write_text(f"item_id,title\n1000,{'word ' * 500_000}\n", encoding="utf-8")
    assert len(files.read_items(shop).frame["title"][0]) == 2_499_999


def test_brackets_and_bars_of_a_title_are_its_own(shop: Path) -> None:
    table = pd.DataFrame({"item_id": list("abcd"), "title": ["[1408]", "{2}", "AC|DC", "['x']"], "kind": ["p|q"] * 4})
    table.to_csv(shop / "items.csv", index=False)
    frame = files.read_items(shop).frame
    assert frame["title"].to_list() == ["[1408]", "{2}", "AC|DC", "x"]
    assert frame["kind"][0] == "p, q"


# JSON


@pytest.mark.parametrize("indent", [None, 1])
def test_rows_inside_an_object_are_read(indent: int | None, shop: Path) -> None:
    taken = [dict(zip(("user_id", "item_id", "timestamp"), row, strict=True)) for row in rows(shop)]
    (shop / "interactions.csv").unlink()
    content = json.dumps({"status": "ok", "pages": [1, 2], "data": taken}, indent=indent)
    (shop / "interactions.json").write_text(content, encoding="utf-8")
    assert histories(shop) == RIGHT


@pytest.mark.parametrize("orient", ["columns", "list"])
def test_an_object_of_columns_is_refused_with_what_to_write(orient: str, shop: Path) -> None:
    table = pd.DataFrame(rows(shop), columns=["user_id", "item_id", "timestamp"])
    (shop / "interactions.csv").unlink()
    content = table.to_json() if orient == "columns" else json.dumps(table.to_dict("list"))
    (shop / "interactions.json").write_text(content, encoding="utf-8")
    assert "found one that holds the whole table: user_id, item_id, timestamp. Write rows" in refusal(shop)


def test_a_row_of_lists_is_told_to_be_taken_apart(shop: Path) -> None:
    (shop / "interactions.csv").unlink()
    row = {"user_id": ["u1"], "item_id": ["1000"], "timestamp": [[1608662701, 1608662702]]}
    pd.DataFrame(row).to_parquet(shop / "interactions.parquet")
    assert "found '[1608662701,1608662702]'; 1 of 1 rows are like this. It holds a list" in refusal(shop)


# Columns


def test_columns_that_differ_in_letter_case_are_read_by_their_own_names(shop: Path) -> None:
    table = {"Item_ID": ["x", "y"], "Title": ["A", "B"], "title": ["a", "b"], "item_id": ["1000", "1007"]}
    (shop / "items.csv").unlink()
    parquet.write_table(pa.table(table), shop / "items.parquet")
    by_parquet = files.read_items(shop, How(text=["title", "Title"])).frame
    (shop / "items.parquet").unlink()
    lines = (json.dumps({name: values[row] for name, values in table.items()}) for row in range(2))
    (shop / "items.jsonl").write_text("\n".join(lines), encoding="utf-8")
    by_json = files.read_items(shop, How(text=["title", "Title"])).frame
    for frame in (by_parquet, by_json):
        assert frame.iloc[:, :3].to_numpy().tolist() == [["1000", "a", "A"], ["1007", "b", "B"]]


def test_an_index_of_pandas_that_counts_is_rebuilt(shop: Path) -> None:
    index = pd.RangeIndex(1000, 1035, 7, name="item_id")
    (shop / "items.csv").unlink()
    pd.DataFrame({"title": list("abcde")}, index=index).to_parquet(shop / "items.parquet")
    assert files.read_items(shop).frame["item_id"].to_list() == ["1000", "1007", "1014", "1021", "1028"]


@pytest.mark.parametrize("picture", [b"\xff\xd8", {"bytes": b"\xff\xd8", "path": "1.jpg"}])
def test_pictures_inside_a_table_are_told_where_they_belong(picture: object, shop: Path) -> None:
    (shop / "items.csv").unlink()
    pd.DataFrame({"item_id": ["1000"], "image": [picture]}).to_parquet(shop / "items.parquet")
    assert "column image: it holds the pictures themselves; write them as files into images/" in refusal(shop)


# Embeddings


def test_numbers_beyond_32_bits_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "text_a.npz", item_id=np.array(["1", "2"]), embedding=np.array([[1.0, np.inf], [2.0, -1e300]]))
    with pytest.raises(DataError, match=r"text_a\.npz, row 2: embedding holds -1e\+300"):
        read_embedding(tmp_path / "text_a.npz")


def test_ids_that_are_no_text_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "text_a.npz", item_id=np.array([b"caf\xe9"]), embedding=np.eye(1))
    with pytest.raises(DataError, match=r"text_a\.npz: item_id b'caf\\xe9' is not UTF-8 text"):
        read_embedding(tmp_path / "text_a.npz")
