"""The law of reading: a sound catalogue gives the same histories and items in whatever usual dress it comes."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmesid.data import files
from mmesid.data.formats import FORMATS, How
from mmesid.data.preparation import prepare
from mmesid.data.texts import clean, one_line
from tests.data import preparing
from tests.data.dresses import TIMES, ZONES, Dress, write
from tests.data.preparing import LOOSE

EXAMPLES = int(os.environ.get("MMESID_DRESSES", "60"))  # dresses that are drawn
BEGINNING = 1_600_000_000 * 10**9  # September 2020
LETTERS = "aé,;|\"' \n#Ω围🧣"
WORDS = ["NULL", "nan", "None", "007", "1e5", "2024-01-01", "true", '"', '""', "a, b", "[1]", "x\ny", "{}"]


@st.composite
def dresses(draw: st.DrawFn, table: str) -> Dress:
    """A dress that a table can wear, drawn from the table of formats."""
    endings = [name for name in FORMATS if name not in {"interactions": (".item",), "items": (".inter",)}[table]]
    ending = draw(st.sampled_from(endings))
    form, boolean = FORMATS[ending], st.booleans()
    text, delimited = form.kind != "parquet", form.kind == "delimited"
    times = [name for name in TIMES if not (text and name.startswith("stamp"))]
    ids = ["text", "numbers", "whole floats"] + ([] if text else ["bytes", "dictionary", "index", "unnamed index"])
    return Dress(
        ending,
        packed=text and draw(boolean),
        parts=draw(st.sampled_from([0, 0, 1, 2, 3])),
        encoding=draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252", "gb18030"])) if text else "utf-8",
        delimiter=draw(st.sampled_from([form.delimiter, *(form.others if form.quotes != "never" else ())])),
        line_end=draw(st.sampled_from(["\n", "\r\n"])),
        every_quote=draw(boolean),
        header=draw(
            st.sampled_from(["plain", "spaces", "none"] if delimited else ["plain"] if text else ["plain", "spaces"])
        ),
        ids=draw(st.sampled_from(ids)),
        padded=draw(boolean),
        time=draw(st.sampled_from(times)),
        zone=draw(st.sampled_from(list(ZONES))),
        texts=draw(st.sampled_from(["text", "bytes", "dictionary"])),
    )


def is_utf8(content: bytes) -> bool:
    return content.decode(errors="ignore").encode() == content


def titles(dress: Dress) -> st.SearchStrategy[str]:
    """Titles that the dress can carry."""
    lost = (
        {"\n", "\r"} if FORMATS[dress.ending].quotes == "never" and FORMATS[dress.ending].kind == "delimited" else set()
    )

    def fits(title: str) -> bool:
        content = title.encode(dress.encoding, "ignore")
        by_chance = dress.encoding in ("cp1252", "gb18030") and not title.isascii() and is_utf8(content)
        return not lost & set(title) and content.decode(dress.encoding) == title and not by_chance

    return st.one_of(st.sampled_from(WORDS), st.text(LETTERS, max_size=8)).filter(fits)


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """A catalogue, what both tables wear, and how the reader is told of what it cannot see."""
    how: dict[str, Any] = {"columns": {}, "text": ["title", "kind"]}
    worn: dict[str, Dress] = {}
    encoding = None
    for table in ("interactions", "items"):
        dress = draw(dresses(table))
        if encoding and encoding != dress.encoding and dress.encoding in ("cp1252", "gb18030"):
            dress = dress._replace(encoding="utf-16")  # one key names the encoding of both
        encoding, worn[table] = dress.encoding if encoding not in ("cp1252", "gb18030") else encoding, dress
    numbers = any(dress.ids in ("numbers", "whole floats") for dress in worn.values())
    users = [str(100 + 7 * n) if numbers else name for n, name in enumerate(["u1", "007", "7", "A b"])]
    items = [str(1000 + n) if numbers else name for n, name in enumerate(["i-1", "0012", "12", "B.C", "x y"])]
    length = 16
    step = TIMES[worn["interactions"].time]
    moments = draw(st.lists(st.integers(0, 5000), min_size=length, max_size=length, unique=True))
    rows = [
        {
            "user_id": users[n % 4],
            "item_id": items[n] if n < 2 else draw(st.sampled_from(items)),  # two, so that there is a choice
            "timestamp": BEGINNING + step * moment,
        }
        for n, moment in enumerate(moments)
    ]
    table = [
        {"item_id": item, "title": draw(titles(worn["items"])), "kind": draw(st.sampled_from(["k", None]))}
        for item in items
    ]
    own = draw(st.booleans())
    called = {key: f"my{key}" if own else key for key in ("user_id", "item_id", "timestamp", "title")} | {
        "kind": "kind"
    }
    for name, keys in (("interactions", ("user_id", "item_id", "timestamp")), ("items", ("item_id", "title", "kind"))):
        if worn[name].header == "none":
            how["columns"] |= {f"{name}.{key}": place for place, key in enumerate(keys, start=1)}
        elif own:
            how["columns"] |= {f"{name}.{key}": called[key] for key in keys if key != "kind"}
    if encoding in ("cp1252", "gb18030"):
        how["encoding"] = encoding
    return {"rows": rows, "items": table, "worn": worn, "called": called, "how": how}


@pytest.mark.timeout(120 + 2 * EXAMPLES)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(world=worlds())
def test_every_dress_gives_the_same_tables(world: dict[str, Any]) -> None:
    histories: dict[str, list[str]] = {}
    for row in sorted(world["rows"], key=lambda row: row["timestamp"]):
        histories.setdefault(row["user_id"], []).append(row["item_id"])
    with tempfile.TemporaryDirectory() as place:
        for name, rows in (("interactions", world["rows"]), ("items", world["items"])):
            write(Path(place), name, rows, world["worn"][name], world["called"])
        catalogue = files.read(Path(place), {}, How(**world["how"]))
    prepared = prepare(catalogue, LOOSE)
    assert preparing.histories(prepared) == histories
    assert catalogue.interactions["timestamp"].to_list() == [row["timestamp"] for row in world["rows"]]
    assert catalogue.interactions["user_id"].to_list() == [row["user_id"] for row in world["rows"]]
    for column, read in (("title", one_line), ("kind", clean)):
        found = catalogue.items[column].astype(object).where(catalogue.items[column].notna(), None).to_list()
        assert found == [read(row[column]) for row in world["items"]]
    assert catalogue.items["item_id"].to_list() == [row["item_id"] for row in world["items"]]
    assert list(catalogue.items)[:3] == ["item_id", "title", "kind"]
