"""Which columns a message advises: by well-known names and by what the first rows hold, never by parts of names."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmesid.commands.add import parse_columns
from mmesid.data import files, hints, names
from mmesid.data.formats import How
from mmesid.data.moments import are_clock, look
from mmesid.data.tables import Origin
from mmesid.data.times import to_timestamps
from mmesid.errors import DataError

ITEMS = "item_id,title\n101,Lamp\n102,Chair\n"
COUNT = 12  # rows
NAMES = ("user_id", "item_id", "timestamp")


def said(folder: Path, interactions: str, items: str = ITEMS, columns: str = "", name: str = "interactions.csv") -> str:
    """What reading both tables refuses."""
    (folder / name).write_text(interactions, encoding="utf-8")
    (folder / "items.csv").write_text(items, encoding="utf-8")
    how = How(columns=parse_columns(columns))
    with pytest.raises(DataError) as caught:
        files.read(folder, {}, how)
    return str(caught.value)


def table(header: str, *cells: str) -> str:
    """Rows in which {n} counts, {s} is a second since 1970, {h} a time of day as hhmm."""
    rows = [
        ",".join(cells).format(n=n, s=1_500_000_000 + 7919 * n, h=f"{(7 + 5 * n) % 24:02d}{(17 + 11 * n) % 60:02d}")
        for n in range(COUNT)
    ]
    return "\n".join([header, *rows]) + "\n"


@pytest.mark.parametrize(
    ("others", "cells", "expected"),
    [
        ("watch_time,event_ts", ("{n}", "{s}"), "timestamp=event_ts`"),
        ("timezone_offset,checkin_at", ("-240", "2018-05-28 06:51:{n:0>2}"), "timestamp=checkin_at`"),
        ("time_on_page,created_at", ("{n}", "2018-05-28 06:51:{n:0>2}"), "timestamp=created_at`"),
        ("times_viewed,created_at", ("{n}", "{s}"), "timestamp=created_at`"),
        ("last_update_time,purchase_date", ("2020-01-01 00:00:01", "2018-05-{n:0>2}"), "timestamp=purchase_date`"),
        ("timeframe,eventdate", ("{n}56", "2018-05-01"), "timestamp=eventdate`"),
        ("date,hourmin,time_ms", ("20180501", "{h}", "{s}007"), "timestamp=time_ms`"),
        ("time_stamp", ("0829",), "timestamp=time_stamp`"),
        ("dt", ("2018-05-01",), "timestamp=dt`"),
        ("Datum", ("26.03.2020 02:09",), "timestamp=Datum`"),
    ],
)
def test_the_time_is_chosen_by_its_values(others: str, cells: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    assert expected in said(tmp_path, table(f"user_id,item_id,{others}", "u{n}", "101", *cells))


def test_other_times_are_listed(tmp_path: Path) -> None:
    text = table("user_id,item_id,last_update_time,purchase_date", "u", "101", "2020-01-01 00:00:01", "2018-05-{n:0>2}")
    assert "last_update_time may be meant as well" in said(tmp_path, text)


@pytest.mark.parametrize(("day", "cell"), [("DAY", "{n}"), ("date", "20240531"), ("date", "2024-05-31")])
@pytest.mark.parametrize("clock", ["{h}", "{h}00", "06:51:54"])
def test_a_day_and_its_time_are_to_be_joined(day: str, cell: str, clock: str, tmp_path: Path) -> None:
    found = said(tmp_path, table(f"user_id,item_id,{day},TRANS_TIME", "u", "101", cell, clock))
    assert f"{day} seems to hold the day and TRANS_TIME the time of day: join them in one column" in found
    assert "timestamp=TRANS_TIME" not in found


def test_without_any_time_the_order_of_rows_is_the_way(tmp_path: Path) -> None:
    found = said(tmp_path, table("user_id,item_id,rating", "u{n}", "101", "5"))
    assert "No column looks like a time: where the rows are in order of time, a column with the row's number" in found
    assert "timestamp=" not in found


@pytest.mark.parametrize("form", ["{:02d}{:02d}", "{:02d}{:02d}07"])
def test_times_of_day_are_no_order(form: str) -> None:
    clocks = [form.format(n * 7 % 24, n * 11 % 60) for n in range(50)]
    with pytest.raises(DataError, match=r"row 1, column timestamp: .* look like times of day, as"):
        to_timestamps(pa.chunked_array([pa.array(clocks)]), Origin(["f.csv"], [50]))


@pytest.mark.parametrize(
    "numbers",
    [range(1, 500), [101, 531, 1231, 829], range(50), [190531, 180428, 170105], [1200, 1245, 1259], [20240531] * 9],
    ids=["rows", "month and day", "few", "year, month, day", "one hour", "days"],
)
def test_other_numbers_are_no_times_of_day(numbers: Sequence[int]) -> None:
    assert not are_clock(np.array(numbers, np.int64))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1527490314", "1546233965"], "moment"),
        (["1527490314000"], "moment"),
        (["2018-05-28 06:51:54", None, "NA"], "moment"),
        (["2018-05-28 00:00:00", "2018-05-29"], "day"),
        (["Fri Aug 17 16:16:59 +0000 2018"], "form"),
        (["Mar 26, 2020, 2:09:49 AM"], "form"),
        (["09 13, 2009"], "form"),
        (["0743456789", "12"], "number"),
        (["Lamp", "7"], "text"),
        ([None, " "], "empty"),
    ],
)
def test_what_values_look_like(values: list[str | None], kind: str) -> None:
    assert look(values) == kind


# Ids


@pytest.mark.parametrize(
    ("present", "user", "item"),
    [
        ("username,hours,products,product_id", "username", "product_id"),
        ("CUSTOMER_ID,AGE_GROUP,PRODUCT_SUBCLASS,PRODUCT_ID", "CUSTOMER_ID", "PRODUCT_ID"),
        ("User-ID,ISBN,Book-Rating", "User-ID", "ISBN"),
        ("Order ID,Customer User ID,Product ID,Item Name,Quantity", "Customer User ID", "Product ID"),
        ("Name,Email,Lineitem quantity,Lineitem name,Lineitem sku,Id", "Email", "Lineitem sku"),
        ("customer_segment,customer,product_category,product_id", "customer", "product_id"),
        ("asin,parent_asin,reviewerName,reviewerID", "reviewerID", "parent_asin"),
        ("household_key,BASKET_ID,PRODUCT_ID", "household_key", "PRODUCT_ID"),
        ("sessionId,userId,itemId", "userId", "itemId"),
        ("user_pseudo_id,StockCode", "user_pseudo_id", "StockCode"),
        ("visitorid,sku_id", "visitorid", "sku_id"),
        ("events.user_id,events.item_id", "events.user_id", "events.item_id"),
        ("session,aid", "session", "aid"),
        ("user_age,user,video_id,video_duration", "user", "video_id"),
        ("member,recipe_id", "member", "recipe_id"),
        ("user_id,reference,city", "user_id", "reference"),
        ("Usr_id,item_category,item_name,quantity", "Usr_id", None),
    ],
)
def test_ids_are_known_by_whole_names(present: str, user: str, item: str | None) -> None:
    columns = present.split(",")
    assert names.id_of("user_id", columns, "interactions") == user
    assert names.id_of("item_id", columns, "interactions") == item


def test_a_bare_id_is_the_item_of_the_items_alone(tmp_path: Path) -> None:
    assert names.id_of("item_id", ["id", "name"], "interactions") is None
    found = said(tmp_path, "user_id,item_id,timestamp\nu,1,1\n", "id,name\n1,Lamp\n")
    assert "`mmesid add NAME --columns items.item_id=id`" in found


def test_a_hint_can_be_pasted_and_keeps_what_was_given(tmp_path: Path) -> None:
    text = table("Customer,Product ID,Order Date", "u{n}", "101", "2018-05-{n:0>2} 10:00:00")
    found = said(tmp_path, text, columns="user_id=Customer,items.item_id=item_id")
    pairs = "user_id=Customer,items.item_id=item_id,interactions.item_id=Product ID,timestamp=Order Date"
    assert f"--columns '{pairs}'`" in found


def test_a_name_for_both_tables_is_not_taken_where_the_canonical_one_stands(tmp_path: Path) -> None:
    text = "id,user_id,item_id,timestamp\n1,u,101,1527490314\n"
    found = said(tmp_path, text, "id,name\n101,Lamp\n", columns="item_id=id")
    assert "both item_id and id, which ingest.columns names for both tables" in found
    assert "--columns item_id=id,interactions.item_id=item_id`" in found


def test_a_name_that_is_mistyped_is_missing_and_gives_way_to_no_other(tmp_path: Path) -> None:
    text = "user_id,item_id,event_time,timestamp\nu,101,1527490314,1527490315\n"
    found = said(tmp_path, text, columns="timestamp=event_tme")
    assert "lacks the column event_tme; it has: user_id, item_id, event_time, timestamp" in found


# Positions


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("64,126,2520377,pv,{s}", "user_id=1,interactions.item_id=2,timestamp=5`"),
        ("64,2018-08-17T16:16:59.000Z,126,0", "user_id=1,interactions.item_id=3,timestamp=2`"),
        ("64,2018-08-17T16:16:59Z,30.23,-97.79,126", "user_id=1,interactions.item_id=5,timestamp=2`"),
        ("64,126,{s}", "user_id=1,interactions.item_id=2,timestamp=3`"),
        ("1,U64,8/17/2018 04:16:59 PM,N1", "timestamp=3`"),
    ],
)
def test_positions_are_those_of_the_row(row: str, expected: str, tmp_path: Path) -> None:
    found = said(tmp_path, table(row.format(s=1_500_000_000), *row.split(",")))
    assert "The first line looks like a row" in found
    assert expected in found


def test_no_position_is_invented(tmp_path: Path) -> None:
    found = said(tmp_path, table("4548,3bd73256,Him,2137", "454{n}", "3bd7325{n}", "Him {n}", "213{n}"))
    assert "timestamp=" not in found
    assert "No column looks like a time" in found
    given = said(tmp_path, table("u,i,Him,2137", "u{n}", "i", "Him", "1"), columns="user_id=1,interactions.item_id=2")
    assert "lacks the column timestamp: ingest.columns gives positions, but none for it" in given


def test_positions_that_were_given_are_kept(tmp_path: Path) -> None:
    row = table("u,101,1500000000", "u{n}", "101", "{s}")
    assert "user_id=1,interactions.item_id=2,timestamp=3`" in said(
        tmp_path, row, columns="user_id=1,interactions.item_id=2"
    )
    assert "has no field 7, which ingest.columns names for timestamp: line 1 has 3 fields" in said(
        tmp_path, row, columns="user_id=1,interactions.item_id=2,timestamp=7"
    )


def test_items_have_positions_of_their_own(tmp_path: Path) -> None:
    found = said(tmp_path, "user_id,item_id,timestamp\nu,1,1\n", "1,Toy Story (1995),Animation\n2,Jumanji,Drama\n")
    assert "--columns items.item_id=1,title=2`" in found
    assert "user_id" not in found


def test_positions_for_a_file_with_a_header_are_refused(tmp_path: Path) -> None:
    text = table("userId,movieId,rating,when", "{n}", "101", "5", "{s}")
    found = said(tmp_path, text, columns="user_id=1,interactions.item_id=2,timestamp=4")
    assert "line 1 is a header, but ingest.columns gives positions" in found
    assert "--columns user_id=userId,interactions.item_id=movieId,timestamp=when`" in found
    items = said(
        tmp_path, "user_id,item_id,timestamp\nu,1,1\n", "movieId,title\n1,Lamp\n2,Chair\n", columns="items.item_id=1"
    )
    assert "items.csv, line 1 is a header" in items


@pytest.mark.parametrize("index", ["", ","])
def test_a_header_that_counts_is_no_row(index: str, tmp_path: Path) -> None:
    rows = "".join(f"{index and str(n) + index}u{n},101,1527490314\n" for n in range(3))
    positions = ",".join(f"{name}={n + bool(index)}" for n, name in enumerate(NAMES, start=1))
    found = said(tmp_path, f"{index}0,1,2\n{rows}", columns=positions.replace("item_id", "interactions.item_id"))
    assert "interactions.csv, line 1 counts columns from 0, as pandas heads those without names" in found


def test_a_header_in_the_first_part_alone_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "interactions"
    folder.mkdir()
    (folder / "x0.csv").write_text("user_id,item_id,timestamp\nu,101,1527490314\n", encoding="utf-8")
    found = said(tmp_path, "u1,sku1,2017-08-11 02:27:57\nu2,sku2,2017-08-11 02:27:58\n", name="interactions/x1.csv")
    assert "Its first line looks like a row, but interactions/x0.csv has a header" in found


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("121:", "It names an item, whose rows follow"),
        ("beer/name: Ocean Light", "Blocks of lines `key: value` are no table"),
        ("# Directed graph", "It is a comment"),
        ("24\x01114\x011552272842", "Its fields stand apart by Ctrl-A"),
        ("96 120 119", "Separate fields by commas or tabs, not by spaces"),
        ("96^120^119", "Separate fields by commas or tabs"),
    ],
)
@pytest.mark.parametrize("columns", ["", "user_id=1,item_id=2,timestamp=3"])
def test_a_line_with_one_field_is_told_for_what_it_is(line: str, says: str, columns: str, tmp_path: Path) -> None:
    found = said(tmp_path, f"{line}\n{line}\n", columns=columns, name="interactions.tsv")
    assert says in found
    assert found.endswith("not by spaces") is (" 120" in line)


def test_items_that_nobody_describes_need_their_ids_alone(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\nu,101,1527490314\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"has no items: .* items\.csv with the column item_id alone, .* will do"):
        files.read(tmp_path, {}, How())


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "They have no time: leave such rows out of the file"),
        ("NA", "They have no time: leave such rows out of the file"),
        ("0000-00-00 00:00:00", "They have no time: leave such rows out of the file"),
        ("02:54:02", "It is a time of day without its day"),
        ("43916,0901504630", "It is a number with a decimal comma"),
    ],
)
def test_what_is_no_time_is_told_for_what_it_is(value: str, says: str, tmp_path: Path) -> None:
    found = said(tmp_path, f"user_id\titem_id\ttimestamp\nu\t101\t{value}\n", name="interactions.tsv")
    assert found.endswith(says) or f"{says}: " in found
    assert "1 of 1 rows are like this. " in found
    assert "timestamp_format" not in found


def test_plain_quotes_beside_a_bar_need_another_ending(tmp_path: Path) -> None:
    items = 'item_id|title\n101|"Weird Al" Yankovic\n'
    assert "call the file .dat" in said(tmp_path, "user_id,item_id,timestamp\nu,101,1527490314\n", items)
    (tmp_path / "items.csv").rename(tmp_path / "items.dat")
    assert files.read(tmp_path, {}, How()).items["title"].to_list() == ['"Weird Al" Yankovic']


def test_an_ending_of_recbole_is_not_that_of_movielens() -> None:
    assert "copy it as .dat" in hints.odd_line("1|Toy Story (1995)|01-Jan-1995", ".item")


# Objects


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            '{"session": 37, "events": [{"aid": 115, "ts": 1500032723000}]}',
            "events holds objects or lists, with aid and ts",
        ),
        (
            '{"userId": "75", "properties": {"product_id": "124"}, "timestamp": "2019-05-12T05:52:37Z"}',
            "user_id=userId` (ingest.columns). properties holds objects or lists, with product_id in them",
        ),
        (
            '{"_id": "x", "_source": {"user_id": 1, "item_id": 2, "ts": 3}}',
            "_source holds objects or lists, with user_id",
        ),
        (
            '{"Item": {"user_id": {"S": "75"}, "item_id": {"S": "1"}}}',
            "Item holds objects or lists, with user_id and item_id",
        ),
    ],
)
def test_what_stands_inside_objects_is_named(row: str, says: str, tmp_path: Path) -> None:
    assert says in said(tmp_path, f"{row}\n{row}\n", name="interactions.jsonl")
