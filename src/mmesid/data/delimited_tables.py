"""The reader of delimited text: a file into an Arrow table of text under canonical names."""

import csv
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow.compute as pc

from mmesid.data import engine, hints
from mmesid.data.columns import Wanted, choose_columns, clean
from mmesid.data.copy_text import unescape
from mmesid.data.delimited import (
    QUOTE,
    REWRITTEN,
    SAMPLE,
    WHITE,
    Dialect,
    beginning,
    begins_with_quote,
    blank_ends,
    is_odd,
    lines,
    refuse_uneven,
    rewrite,
    say_return,
)
from mmesid.data.encodings import encoding_of, is_packed
from mmesid.data.engine import Read
from mmesid.data.formats import Part
from mmesid.data.swallowed import Source, find_swallowed
from mmesid.errors import DataError

LINE = 2_000_000  # bytes that a line may have as a rule


class _File(NamedTuple):
    """A file whose columns are known."""

    part: Part
    delimiter: str
    names: list[str]
    chosen: dict[str, str]  # canonical name -> SQL, as of `choose_columns`
    headings: dict[str, str]  # canonical name, of columns by which a row is known -> what the header calls it


def delimited(connection: duckdb.DuckDBPyConnection, part: Part, wanted: Wanted, encoding: str, aside: Path) -> Read:
    """CSV and its kin. What DuckDB refuses is gone through line by line, which mends it or names the line."""
    encoding = encoding_of(part, encoding)
    dialect, first = _choose(part, wanted, encoding)
    file = _look(part, wanted, encoding, dialect, first)
    path = part.path if encoding.startswith("utf-8") else _transcode(part, encoding, aside)
    strange = is_odd(part, encoding) or any("\n" in field or "\r" in field for field in first)
    if not strange and not dialect.escaped:  # by the first line's end DuckDB knows all others
        with suppress(duckdb.Error):
            read = _read(connection, path, file, dialect)
            if _may_be_uneven(connection, path, file, dialect, read.table.num_rows):
                refuse_uneven(part, dialect, encoding, len(first))
            return read
    mended = aside.with_suffix(".mended")
    try:
        longest = _rewrite(part, dialect, encoding, len(first), mended)
    except DataError as error:
        if part.format.quotes == "maybe" and not begins_with_quote(part, encoding):
            with suppress(duckdb.Error):
                table, notes = _read(connection, path, file, dialect._replace(quoted=False))
                return Read(table, (*notes, *_say_kept(part, table, error)))
        raise
    return _read(connection, mended, file, REWRITTEN, longest)


def header_of(part: Part, wanted: Wanted, encoding: str) -> list[str]:
    """The names of a file's columns; their positions where it has no header."""
    return _header(part, wanted, _choose(part, wanted, encoding_of(part, encoding))[1])


def _choose(part: Part, wanted: Wanted, encoding: str) -> tuple[Dialect, list[str]]:
    """The delimiter that makes most sense of the beginning, the format's own where several do, and the first record."""
    quoted = part.format.quotes != "never"
    choices = [
        _weigh(part, Dialect(delimiter, quoted, wanted.has_header()), wanted, encoding)
        for delimiter in (part.format.delimiter, *part.format.others)
    ]
    _, dialect, first = max(choices, key=lambda choice: choice[0])  # the first of equal ones
    return dialect, first


def _weigh(part: Part, dialect: Dialect, wanted: Wanted, encoding: str) -> tuple[tuple[int, ...], Dialect, list[str]]:
    """How much sense a dialect makes.

    Columns found, whether all records have as many fields, whether quotes fit, whether there are several fields, and
    whether ids hold no other delimiter: `101;King, Stephen` has one comma and one semicolon.
    """
    fits = True
    try:
        records = beginning(part, dialect, encoding)
    except csv.Error:
        try:
            records, dialect = beginning(part, dialect._replace(escaped=True), encoding), dialect._replace(escaped=True)
        except csv.Error:
            records, fits = beginning(part, dialect._replace(quoted=False), encoding), False
            if begins_with_quote(part, encoding):  # quotes are meant as such; what breaks them is said later
                records[0] = [field.removeprefix(QUOTE).removesuffix(QUOTE) for field in records[0]]
    if not records:
        raise DataError(f"{part.path} is empty: it has neither a header nor rows")
    places = wanted.find(_header(part, wanted, records[0]))
    found = len(set(places) & {*wanted.required, *wanted.named})
    even = all(len(record) == len(records[0]) for record in records)
    ids = {place for name, place in places.items() if name in wanted.required and name.endswith("_id")}
    cells = [cell for record in records for place, cell in enumerate(record) if place in ids]
    others = {part.format.delimiter, *part.format.others} - {dialect.delimiter}
    bare = not any(other in cell for cell in cells for other in others)
    return (found, even, fits, len(records[0]) > 1, bare), dialect, records[0]


def _header(part: Part, wanted: Wanted, first: list[str]) -> list[str]:
    """The columns' names: those of the first record, or their positions where it is a row."""
    return clean(first, part.format.typed) if wanted.has_header() else [str(n + 1) for n in range(len(first))]


def _look(part: Part, wanted: Wanted, encoding: str, dialect: Dialect, first: list[str]) -> _File:
    """The file with its columns; raises DataError where one is missing, which may be because of a title above them."""
    names = _header(part, wanted, first)
    returned = say_return(part, 1, dialect.delimiter.join(first))
    try:
        if returned and not dialect.quoted:
            raise DataError(returned)
        chosen = choose_columns(
            part,
            wanted,
            names,
            lambda place, _: f"c{place}",
            rows=lambda: _sample(part, dialect, encoding)[dialect.header :],
        )
    except DataError:
        if returned:
            raise DataError(returned) from None
        _refuse_title(part, wanted, encoding)
        raise
    places = {new: _place(sql) for new, sql in chosen.items() if new in wanted.required and sql.startswith("c")}
    if not dialect.header:
        _refuse_header(part, wanted, places, _sample(part, dialect, encoding))
    headings = {new: first[place] if wanted.has_header() else new for new, place in places.items()}
    return _File(part, dialect.delimiter, names, chosen, headings)


def _sample(part: Part, dialect: Dialect, encoding: str) -> list[list[str]]:
    """The first records, a header included; quotes are characters where they make no sense."""
    try:
        return beginning(part, dialect, encoding)
    except csv.Error:
        return beginning(part, dialect._replace(quoted=False), encoding)


def _refuse_header(part: Part, wanted: Wanted, places: dict[str, int], records: list[list[str]]) -> None:
    """Raises DataError where columns have positions, but the first record names them."""
    columns = {new: [record[at] for record in records if at < len(record)] for new, at in places.items()}
    if [field.strip() for field in records[0] if field.strip()] == [str(at) for at in range(max(2, len(places)))]:
        raise DataError(
            f"{part.path}, line 1 counts columns from 0, as pandas heads those without names, and is no row: drop it"
        )
    if columns and all(hints.is_header(new, values) for new, values in columns.items()):
        named = {new: clean(values[:1], part.format.typed)[0] for new, values in columns.items()}
        raise DataError(
            f"{part.path}, line 1 is a header, but ingest.columns gives positions, as for a file without one: drop the "
            f"line, or give names, {hints.command(wanted.table, {}, named)}"
        )


def _refuse_title(part: Part, wanted: Wanted, encoding: str) -> None:
    """Raises DataError where the columns stand in a later line than the first."""
    start = list(islice(lines(part, encoding), SAMPLE)) if wanted.has_header() else []
    for number, line in enumerate(start, start=1):
        for delimiter in (part.format.delimiter, *part.format.others):
            names = clean([field.strip().strip(QUOTE) for field in line.split(delimiter)], part.format.typed)
            if number > 1 and set(wanted.required) <= set(wanted.find(names)):
                title = next(text for text in start if text.strip()).strip()[:60]
                raise DataError(
                    f"{part.path}, line {number}: the columns stand here, but {title!r} stands above them, which is no "
                    "header; drop the lines above it"
                )


def _rewrite(part: Part, dialect: Dialect, encoding: str, width: int, target: Path) -> int:
    """As `rewrite`; where quotes make no sense as they are, with a backslash before those that belong to the text."""
    try:
        return rewrite(part, dialect, encoding, width, target)
    except DataError:
        if dialect.quoted and not dialect.escaped:
            with suppress(DataError):
                return rewrite(part, dialect._replace(escaped=True), encoding, width, target)
        raise


def _may_be_uneven(connection: duckdb.DuckDBPyConnection, path: Path, file: _File, dialect: Dialect, rows: int) -> bool:
    """Whether more lines end by a blank field than have none in the last column, but not all."""
    ends = blank_ends(path, dialect.delimiter) - (dialect.header and not file.names[-1])
    if ends <= 0:
        return False
    blank = f"coalesce(trim(c{len(file.names) - 1}, {engine.literal(WHITE)}), '') = ''"
    ((blanks,),) = connection.sql(f"SELECT count(*) FROM {_source(path, file, dialect)} WHERE {blank}").fetchall()
    return blanks < ends and (blanks > 0 or ends < rows)


def _read(
    connection: duckdb.DuckDBPyConnection, path: Path, file: _File, dialect: Dialect, longest: int = LINE
) -> Read:
    source = _source(path, file, dialect, longest)
    table = engine.select(connection, source, file.chosen)
    own = [new for new, sql in file.chosen.items() if sql.startswith("c")]
    if all(_has_blank(table[new]) for new in own):  # rows may be blank, or a line where there is one column
        white = engine.literal(WHITE)
        blank = " AND ".join(f"coalesce(trim(c{number}, {white}), '') = ''" for number in range(len(file.names)))
        source = f"{source} WHERE NOT ({blank})"
        table = engine.select(connection, source, file.chosen)
    table = unescape(table, path)
    notes = _say_headings(file, table)
    if dialect.quoted:
        known = {_place(file.chosen[new]): table[new] for new in file.headings}
        where = Source(path, file.part.shown, source, file.delimiter, file.names)
        notes += find_swallowed(connection, where, known)
    return Read(table, tuple(notes))


def _source(path: Path, file: _File, dialect: Dialect, longest: int = LINE) -> str:
    """SQL of a file's rows, with columns c0, c1, ..."""
    fields = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(file.names)))
    quote = engine.literal(QUOTE if dialect.quoted else "")
    options = {
        "auto_detect": "false",
        "header": str(dialect.header).lower(),
        "delim": engine.literal(dialect.delimiter),
        "quote": quote,
        "escape": quote,
        "compression": "'gzip'" if is_packed(path) else "'none'",
        "max_line_size": str(max(LINE, longest)),
        "nullstr": r"['', '\N']",  # the latter is how MySQL, PostgreSQL and Hive write it
        "columns": f"{{{fields}}}",
    }
    return f"read_csv({engine.place(path)}, {', '.join(f'{name}={value}' for name, value in options.items())})"


def _place(sql: str) -> int:
    return int(sql[1:])


def _has_blank(column: Any) -> bool:
    """Whether a cell is null or white space, which sorts before all else."""
    return bool(column.null_count) or not (pc.min(column).as_py() or "").strip(WHITE)


def _say_headings(file: _File, table: Any) -> list[str]:
    """A sentence where rows are headers: the columns by which a row is known hold their own names."""
    same = None
    for new, heading in file.headings.items():
        if same is None or pc.any(same).as_py():
            equal = pc.fill_null(pc.equal(table[new], heading), False)
            same = equal if same is None else pc.and_(same, equal)
    if same is None or not (count := pc.sum(same).as_py()):
        return []
    return [
        f"{file.part.shown}, row {pc.index(same, True).as_py() + 1}: the names of the columns stand here as a row, as "
        f"where files with headers are put together or a header is read as a row; {count:,} rows are like this"
    ]


def _say_kept(part: Part, table: Any, error: DataError) -> list[str]:
    """A sentence where quotes that are read as characters stand around most values of a column."""
    for name in table.column_names:
        column = table[name].drop_null()
        around = pc.and_(pc.starts_with(column, QUOTE), pc.ends_with(column, QUOTE))
        count = pc.sum(around).as_py() or 0
        if 2 * count > len(column):
            why = str(error).removeprefix(f"{part.path}, ")
            return [
                f"{part.shown}, column {name}: quotes stay around {count:,} of {len(column):,} values, because quotes "
                f"make no sense in {why}"
            ]
    return []


def _transcode(part: Part, encoding: str, target: Path) -> Path:
    with target.open("w", encoding="utf-8", newline="") as out:
        out.writelines(lines(part, encoding))
    return target
