"""Rows of delimited text that a cell holds, because a quote opened where none belongs and a later one closed it.

Such a cell has the shape of its table: its first line ends as a row does, its last begins as one, and those between are
rows. Texts with line breaks may have that shape by chance, so what would be ids and times must look like those of the
row around it, too.
"""

from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow.compute as pc

from mmesid.data.delimited import CHUNK, WIDE
from mmesid.data.encodings import open_bytes

LINE_FEED = 10


class Source(NamedTuple):
    """A delimited file as DuckDB reads it."""

    path: Path
    shown: str  # its name inside the catalogue's folder
    sql: str  # its rows, with columns c0, c1, ...
    delimiter: str  # of the file as it came
    names: list[str]


def find_swallowed(connection: duckdb.DuckDBPyConnection, source: Source, known: dict[int, Any]) -> list[str]:
    """A sentence where cells hold rows, with file, row and column of the first, whether the column is read or not.

    Args:
        connection: to the engine.
        source: the file.
        known: the columns by which a row is known, such as ids, that were read; by their position.
    """
    rows = len(next(iter(known.values()), ()))
    if not known or not 1 < len(source.names) < WIDE or not _has_more_lines(source.path, rows + 1):
        return []
    cases = " ".join(_case(place, source, list(known)) for place in range(len(source.names)) if place not in known)
    if not cases:
        return []
    numbered = f"(SELECT row_number() OVER () AS row, * FROM {source.sql})"
    question = f"SELECT row, unnest(found) FROM (SELECT row, CASE {cases} END AS found FROM {numbered}) "
    try:
        found = connection.sql(f"{question} WHERE found IS NOT NULL ORDER BY row").to_arrow_table()
    except duckdb.Error:  # columns that are not read need not be sound
        return []
    if len(known) == 1:  # what has a row of its own was not swallowed
        (ids,) = known.values()
        found = found.filter(pc.invert(pc.is_in(found["id"].cast(ids.type), value_set=ids.combine_chunks())))
    if not found.num_rows:
        return []
    first = found.slice(0, 1).to_pylist()[0]
    return [
        f"{source.shown}, row {first['row']}, column {source.names[first['place']]}: some of its {first['lines']} "
        f"lines look like rows of the table, as where a quote is never closed; {found.num_rows:,} rows are like this"
    ]


def _has_more_lines(path: Path, expected: int) -> bool:
    """Whether the file has more lines than are expected, so that a cell may have several."""
    count, last = 0, LINE_FEED
    with open_bytes(path) as file:
        while piece := file.read(CHUNK):
            count += int(np.count_nonzero(np.frombuffer(piece, np.uint8) == LINE_FEED))
            last = piece[-1]
    return count + (last != LINE_FEED) > expected


def _case(place: int, source: Source, known: list[int]) -> str:
    """SQL that describes the cell of a column where it holds rows."""
    shaped = _pattern(place, None, source)
    tests = [f"contains(c{place}, chr(10))", f"regexp_full_match(c{place}, '{shaped}')"]
    near = "{0} - 1 AND {0} + 1" if len(known) == 1 else "{0} / 3 AND {0} * 3"  # one column must tell alone
    for other in known:
        inside = _inside(place, other, source)
        tests += [f"{_shape(inside)} = {_shape(f'c{other}')}"]
        tests += [f"length({inside}) BETWEEN {near.format(f'length(c{other})')}"]
    lines = f"length(c{place}) - length(replace(c{place}, chr(10), '')) + 1"
    seen = f"{{'place': {place}, 'lines': {lines}, 'id': {_inside(place, known[0], source)}}}"
    return f"WHEN {' AND '.join(tests)} THEN {seen}"


def _inside(place: int, other: int, source: Source) -> str:
    """SQL of the field that another column has in a row that the cell holds."""
    return f"trim(regexp_extract(c{place}, '^{_pattern(place, other, source)}$', 1), chr(13))"


def _pattern(place: int, other: int | None, source: Source) -> str:
    """The shape of a cell that holds rows, with the field of another column as its group.

    Of a row that begins before the cell the fields behind the cell stand in its first line, of one that ends behind it
    those before the cell in its last.
    """
    mark = "\\t" if source.delimiter == "\t" else source.delimiter
    field, width = f"[^{mark}\\n]*", len(source.names)

    def fields(count: int, group: int | None) -> str:
        if group is None or not 0 <= group < count:
            return f"{field}(?:[{mark}]{field}){{{count - 1}}}"
        return f"(?:{field}[{mark}]){{{group}}}({field})(?:[{mark}]{field}){{{count - group - 1}}}"

    first = fields(width - place, None if other is None or other < place else other - place)
    last = fields(place + 1, other)
    return f"{first}(?:\\n{fields(width, None)})*\\n{last}"


def _shape(value: str) -> str:
    """SQL of a text with every run of letters and digits as one letter, and whether there is a digit."""
    runs = f"regexp_replace({value}, '[\\pL\\pN]+', 'x', 'g')"
    return f"{runs} || contains(translate({value}, '123456789', '000000000'), '0')::VARCHAR"
