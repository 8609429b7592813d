"""The one reader of tables: files in any accepted dress into plain columns that know where each row came from.

A column is text, a number or a time, as an Arrow array; `ids`, `times` and `as_text` make canonical values of it.
"""

import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmesid import host
from mmesid.data import engine
from mmesid.data.columns import Wanted
from mmesid.data.delimited import WIDE
from mmesid.data.encodings import doubts
from mmesid.data.engine import Read
from mmesid.data.formats import How, Part, find_parts
from mmesid.data.readers import READERS
from mmesid.errors import DataError, first_line

SHOWN = 60  # characters of a value that a message shows
EXACT = 2.0**53  # from here on floats skip whole numbers
SINGLE = 2.0**24  # and 32-bit floats


class Origin(NamedTuple):
    """Where rows came from: files inside the catalogue's folder, and how many rows each has."""

    files: list[str]
    rows: list[int]

    def place(self, position: int) -> str:
        """File and row of the row at a position of the table, from 0, for a message."""
        ends = np.cumsum(self.rows)
        file = int(np.searchsorted(ends, position, side="right"))
        return f"{self.files[file]}, row {position - int(ends[file]) + self.rows[file] + 1}"

    def columns(self) -> dict[str, Any]:
        """`file` and `row` of every row; rows count from 1 in each file."""
        codes: NDArray[np.int32] = np.repeat(np.arange(len(self.files), dtype=np.int32), self.rows)
        names = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(self.files, pa.large_string()))
        numbers = [np.arange(1, count + 1, dtype=np.int64) for count in self.rows]
        return {"file": as_pandas(names.cast(pa.large_string())), "row": np.concatenate(numbers)}


class Table(NamedTuple):
    """A table as its files hold it."""

    columns: dict[str, Any]  # Arrow arrays, each (rows,)
    origin: Origin
    notes: tuple[str, ...] = ()  # what is doubtful about them


def read_table(folder: Path, name: str, required: Collection[str], how: How, only: bool = False) -> Table:
    """Read the table `name` of a catalogue.

    Args:
        folder: the catalogue's folder.
        name: `interactions` or `items`.
        required: canonical names of columns that must be there.
        how: what the files do not say themselves.
        only: read no other columns.

    Raises:
        DataError: a file is missing, breaks the rules of its format, has no rows, or lacks a column.
    """
    parts = find_parts(folder, name, how.interactions if name == "interactions" else how.items)
    wanted = Wanted(how.names(name), required, only, name, how.columns)
    later = wanted._replace(before=parts[0].shown)
    with host.scratch() as aside, engine.connect() as connection:  # both take longer than a small part
        read = [
            _read_part(connection, part, later if number else wanted, how.encoding, aside / "table")
            for number, part in enumerate(parts)
        ]
    tables, notes = [part.table for part in read], tuple(note for part in read for note in part.notes)
    if not any(table.num_rows for table in tables):
        raise DataError(f"{parts[0].path} is empty: it has columns but no rows")
    names = dict.fromkeys(column for table in tables for column in table.column_names)
    columns = {column: _stack([_column(table, column) for table in tables]) for column in names}
    return Table(columns, Origin([part.shown for part in parts], [table.num_rows for table in tables]), notes)


def as_text(column: Any) -> "pd.Series[str]":
    """A column as text: blank text becomes null, whole numbers that a null has made floats lose their fraction."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
        if is_whole(column):
            column = column.cast(pa.int64())
    text = written(column)
    blank = pc.equal(pc.utf8_trim_whitespace(text), "")
    return as_pandas(pc.if_else(blank, None, text) if pc.any(blank).as_py() else text)


def swallowed(columns: dict[str, Any], origin: Origin) -> list[str]:
    """A sentence for each column in which a cell holds what looks like rows: a quote opened, and a later one closed it.

    Between its first line and its last such a cell has a line with as many delimiters as a row of the table.
    """
    notes, marks = [], len(columns) - 1
    if not 1 < marks < WIDE:
        return []
    rows = [rf"\n([^\n{mark}]*{mark}){{{marks}}}[^\n{mark}]*\n" for mark in (",", ";", "\t", "[|]")]
    for name, column in columns.items():
        if not pa.types.is_large_string(column.type):
            continue
        found = pc.fill_null(pc.match_substring_regex(column, "|".join(rows)), False)
        if count := pc.sum(found).as_py():
            first = pc.index(found, True).as_py()
            lines = column[first].as_py().count("\n") + 1
            notes.append(
                f"{origin.place(first)}, column {name}: some of its {lines} lines look "
                f"like rows of the table, as where a quote is never closed; {count:,} rows are like this"
            )
    return notes


def shortened(value: object) -> str:
    """A value for a message: one line, not too long."""
    line = " ".join(str(value)[: 4 * SHOWN].split())
    return repr(line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…")


def is_whole(numbers: Any) -> bool:
    """Whether floats are all whole and small enough to be exact."""
    fits = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), EXACT))
    return pc.all(fits).as_py() is not False


def written(column: Any) -> Any:
    """A column with its values written out as text."""
    if pa.types.is_floating(column.type) or pa.types.is_decimal128(column.type):  # Arrow writes 0 as 0E-9
        return engine.ask(column, "SELECT value::VARCHAR AS value FROM asked")["value"].cast(pa.large_string())
    return column.cast(pa.large_string())


def as_pandas(text: Any) -> "pd.Series[str]":
    """Arrow text as pandas holds it, without a copy."""
    series: pd.Series[str] = pa.table({"text": text}).to_pandas()["text"].rename(None)
    return series.astype("str")


def _read_part(connection: duckdb.DuckDBPyConnection, part: Part, wanted: Wanted, encoding: str, aside: Path) -> Read:
    if not part.path.exists():
        raise DataError(f"{part.path} links to {part.path.readlink()}, which does not exist")
    if not part.path.stat().st_size:
        raise DataError(f"{part.path} is empty: it has no bytes")
    try:
        table, notes = READERS[part.format.kind](connection, part, wanted, encoding, aside)
        return Read(table, (*(doubts(part, encoding) if part.format.kind != "parquet" else ()), *notes))
    except (duckdb.Error, OSError, EOFError, zlib.error) as error:
        reason = first_line(error).removeprefix("Invalid Input Error: ")
        raise DataError(f"{part.path} cannot be read as {part.format.kind}: {reason}") from None


def _column(table: Any, name: str) -> Any:
    return table[name] if name in table.column_names else pa.nulls(table.num_rows, pa.large_string())


def _stack(columns: list[Any]) -> Any:
    """Parts below each other; as text where their types differ, whole floats as a part of integers writes them."""
    if len({str(column.type) for column in columns}) > 1:
        columns = [written(_bare(column)) for column in columns]
    chunks = [chunk for column in columns for chunk in getattr(column, "chunks", [column])]
    return pa.chunked_array(chunks, columns[0].type)


def _bare(column: Any) -> Any:
    """Floats without NaN, and as integers where all are whole; any other column as it is."""
    if not pa.types.is_floating(column.type):
        return column
    column = pc.if_else(pc.is_nan(column), None, column)
    return column.cast(pa.int64()) if is_whole(column) else column
