"""Catalogues shaped after public bug reports: each has one right outcome."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmesid.commands.inspection import inspect
from mmesid.data import files
from mmesid.data.formats import How
from mmesid.data.ids import canonical_array
from mmesid.data.joins import explain_join
from mmesid.data.preparation import prepare
from mmesid.data.verdict import Refusal, refusals
from mmesid.errors import DataError
from tests.data import preparing
from tests.data import test_expectations as gate
from tests.data.preparing import LOOSE

USERS, ITEMS, EACH = 6, 5, 4
START = 1_608_662_701  # seconds


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A sound catalogue: 6 users who each take 4 of 5 items, a day apart."""
    items = "".join(f"{1000 + 7 * item},Lamp {item},amber\n" for item in range(ITEMS))
    (tmp_path / "items.csv").write_text(f"item_id,title,kind\n{items}", encoding="utf-8")
    write(tmp_path, [(f"u{user:02d}", str(item_of(user, step)), str(START + 86_400 * step)) for user, step in pairs()])
    return tmp_path


def pairs() -> list[tuple[int, int]]:
    return [(user, step) for user in range(USERS) for step in range(EACH)]


def item_of(user: int, step: int) -> int:
    return 1000 + 7 * ((user + step) % ITEMS)


def write(folder: Path, rows: list[tuple[str, str, str]], header: str = "user_id,item_id,timestamp") -> None:
    lines = [header, *(",".join(row) for row in rows)]
    (folder / "interactions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def rows(folder: Path) -> list[tuple[str, str, str]]:
    lines = (folder / "interactions.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [(user, item, time) for user, item, time in (line.split(",") for line in lines)]


def histories(folder: Path) -> dict[str, list[str]]:
    """Each user's items in order of time, as `prepare` makes them."""
    return preparing.histories(prepare(files.read(folder, {}), LOOSE))


def refused(folder: Path) -> list[Refusal]:
    few = {"min_users": 1, "min_items": 1, "min_interactions": 1}
    return refusals(files.read(folder, {}), gate.settings(**few, max_missing_image=1.0))


RIGHT = {f"u{user:02d}": [str(item_of(user, step)) for step in range(EACH)] for user in range(USERS)}


def test_the_plain_catalogue(shop: Path) -> None:
    assert histories(shop) == RIGHT
    assert not refused(shop)


def test_bigquery_writes_utc_behind_its_times(shop: Path) -> None:
    write(shop, [(u, i, f"{pd.Timestamp(int(t), unit='s'):%Y-%m-%d %H:%M:%S} UTC") for u, i, t in rows(shop)])
    assert files.read_interactions(shop).frame["timestamp"][0] == START * 10**9
    assert histories(shop) == RIGHT


def test_clicks_within_a_second_keep_their_order_newest_first(shop: Path) -> None:
    clicks = [(f"u{u:02d}", str(item_of(u, s)), f"2020-12-22T18:45:01.{7 + 250 * s:03d}Z") for u, s in pairs()]
    write(shop, clicks[::-1])
    assert histories(shop) == RIGHT


def test_floats_and_integers_are_the_same_ids(shop: Path) -> None:
    write(shop, [(u, f"{i}.0", t) for u, i, t in rows(shop)])
    assert histories(shop) == RIGHT


def test_gzip_is_read(shop: Path) -> None:
    (shop / "interactions.csv.gz").write_bytes(gzip.compress((shop / "interactions.csv").read_bytes()))
    (shop / "interactions.csv").unlink()
    assert histories(shop) == RIGHT


def test_spaces_in_the_header_are_no_part_of_a_name(shop: Path) -> None:
    write(shop, [(u, f" {i}", f" {t}") for u, i, t in rows(shop)], "user_id, item_id, timestamp")
    assert histories(shop) == RIGHT


def test_a_quote_that_stays_open_is_named_by_its_line(shop: Path) -> None:
    text = (shop / "items.csv").read_text(encoding="utf-8")
    (shop / "items.csv").write_text(text.replace("Lamp 1", '"Lamp 1').replace("Lamp 3", '"Lamp 3'), encoding="utf-8")
    with pytest.raises(DataError, match=r"items\.csv, line 3: a quote opens here and never closes.*line 5"):
        files.read(shop, {})


def test_a_quote_that_closes_by_chance_is_named_too(shop: Path) -> None:
    text = (shop / "items.csv").read_text(encoding="utf-8")
    (shop / "items.csv").write_text(text.replace("Lamp 1", '"Lamp 1').replace("Lamp 3", 'Lamp 3"'), encoding="utf-8")
    (note,) = files.read_items(shop).notes
    assert note.startswith("items.csv, row 2, column title: some of its 3 lines look like rows of the table")
    with pytest.raises(DataError, match="nothing is left to learn from") as refused:  # the rows that it took are missed
        inspect(shop)
    assert note in str(refused.value)


def test_padded_ids_are_one_user_and_are_counted(shop: Path) -> None:
    write(shop, [(f"{u} " if n % 2 else u, i, t) for n, (u, i, t) in enumerate(rows(shop))])
    assert histories(shop) == RIGHT
    assert "interactions: user_id with white space around it, which is cut off: 12" in inspect(shop)[0].warnings[0]
    assert "'u00 ' in interactions.csv, row 2" in inspect(shop)[0].warnings[0]


def test_bytes_of_parquet_are_text(shop: Path) -> None:
    for name in ("interactions", "items"):
        table = pd.read_csv(shop / f"{name}.csv", dtype=str)
        encoded = {column: table[column].map(str.encode) for column in table if column != "timestamp"}
        table.assign(**encoded).to_parquet(shop / f"{name}.parquet")
        (shop / f"{name}.csv").unlink()
    assert histories(shop) == RIGHT
    assert files.read_items(shop).frame["title"][0] == "Lamp 0"


def test_bytes_that_are_no_text_are_named(shop: Path) -> None:
    pd.DataFrame({"item_id": [b"1", b"\xe9"]}).to_parquet(shop / "items.parquet")
    (shop / "items.csv").unlink()
    with pytest.raises(DataError, match=r"items\.parquet, row 2, column item_id: its bytes are not UTF-8"):
        files.read(shop, {})


@pytest.mark.parametrize("name", ["item_id", None])
def test_an_index_of_pandas_is_found_by_name(name: str | None, shop: Path) -> None:
    table = pd.read_csv(shop / "items.csv", dtype=str)
    table = table.set_index(name) if name else table.set_axis(range(5, 10))
    table.to_parquet(shop / "items.parquet")
    (shop / "items.csv").unlink()
    assert histories(shop) == RIGHT
    assert set(files.read_items(shop).frame) == {"item_id", "title", "kind", "image", "image_name", "file", "row"}


def test_seconds_beside_milliseconds_are_refused_with_a_row_of_each(shop: Path) -> None:
    write(shop, [(u, i, t + "000" * (n % 2)) for n, (u, i, t) in enumerate(rows(shop))])
    with pytest.raises(
        DataError, match=r"mixes units: 1608662701 \(interactions\.csv, row 1\) .* row 2\) milliseconds"
    ):
        files.read(shop, {})


def test_the_same_day_twice_is_refused_with_the_key_that_allows_it(shop: Path) -> None:
    days = [(u, i, f"{pd.Timestamp(int(t), unit='s'):%Y-%m-%d}") for u, i, t in rows(shop)]
    write(shop, [days[0], *days])
    (refusal,) = refused(shop)
    assert str(refusal).startswith("every interaction stands only once: 1 of 25 interactions do not hold")
    assert "first interactions.csv row 2" in str(refusal)
    assert refusal.allowed_by.startswith("validate.max_duplicates: 0.04")
    assert histories(shop) == RIGHT


def test_ties_are_counted_and_the_file_decides(shop: Path) -> None:
    write(shop, [(u, i, "2020-12-22") for u, i, _ in rows(shop)])
    assert histories(shop) == RIGHT
    assert any("share user and time with another one: 24 of 24" in warning for warning in inspect(shop)[0].warnings)


def test_a_download_runs_without_renaming(shop: Path) -> None:
    ratings = "".join(f"{u}::{i}::5::{t}\n" for u, i, t in rows(shop))
    (shop / "ratings.dat").write_text(ratings, encoding="utf-8")
    (shop / "interactions.csv").unlink()
    columns = {"user_id": 1, "interactions.item_id": 2, "timestamp": 4}
    frame = files.read_interactions(shop, How(columns=columns, interactions="ratings.dat")).frame
    assert frame[["user_id", "item_id"]].iloc[0].to_list() == ["u00", "1000"]


@pytest.mark.parametrize(
    ("interaction", "item", "difference"),
    [
        ("0042", "42", "leading zeros"),
        ("b00ab", "B00AB", "upper and lower case"),
        ("'42'", "42", "quotation marks"),
        ("item_42", "42", "a prefix"),
        ("B0-42", "B0", "an ending"),
    ],
)
def test_a_join_that_fails_shows_an_id_of_each_side(interaction: str, item: str, difference: str) -> None:
    said = explain_join(pd.Series([interaction, "zzz"], dtype="str"), pd.Series([item, "q"], dtype="str"))
    assert said is not None
    assert f"{interaction!r} in interactions, {item!r} in items; they differ by {difference}" in said


def test_a_join_that_holds_needs_no_words() -> None:
    ids = pd.Series([str(number) for number in range(20)], dtype="str")
    assert explain_join(ids, ids[1:]) is None
    assert "seem to count differently" in (explain_join(ids, pd.Series(["x"], dtype="str")) or "")


def test_a_join_that_holds_for_most_rows_is_no_other_way_of_counting() -> None:
    ids = pd.Series([str(number) for number in range(20)], dtype="str")
    said = "3 of 20 interactions have an item that the items table lacks: such as '0'"
    assert explain_join(ids, ids[3:]) == said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "1.23E+12,a\n1.23E+12,b\n",
            r"items\.csv, row 1, column items: item_id: '1\.23E\+12' .* spreadsheet has rounded",
        ),
        ("7,a\n4.5e+11,b\n", r"items\.csv, row 2"),
    ],
)
def test_ids_that_a_spreadsheet_rounded_are_refused(content: str, message: str, shop: Path) -> None:
    (shop / "items.csv").write_text(f"item_id,title\n{content}", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        files.read(shop, {})


def test_ids_that_floats_cannot_hold_are_refused(shop: Path) -> None:
    pd.DataFrame({"item_id": [1.0, 2.0**60]}).to_parquet(shop / "items.parquet")
    (shop / "items.csv").unlink()
    with pytest.raises(DataError, match=r"items\.parquet, row 2.*a float too large"):
        files.read(shop, {})


def test_an_array_of_ids_is_canonical() -> None:
    assert canonical_array(np.array([7.0, 8.0])).tolist() == ["7", "8"]
    assert canonical_array(np.array([b"a ", b"b"])).tolist() == ["a", "b"]


@pytest.mark.parametrize(("name", "mark"), [("interactions.csv", ","), ("interactions.tsv", "\t")])
def test_a_quote_that_swallows_rows_makes_no_id(name: str, mark: str, shop: Path) -> None:
    lines = (shop / "interactions.csv").read_text(encoding="utf-8").replace(",", mark).splitlines()
    (shop / "interactions.csv").unlink()
    lines[3], lines[9] = f'"{lines[3]}', lines[9].replace(mark, f'"{mark}', 1)  # it closes six rows later
    (shop / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=rf"{name}, row 3, column interactions: user_id: .* a quote is never closed; 1 of"
    ):
        files.read_interactions(shop)
