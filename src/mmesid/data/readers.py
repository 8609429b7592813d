"""One reader for each kind of file: a file into an Arrow table of plain columns under their canonical names."""

import csv
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from mmesid.data import engine
from mmesid.data.columns import Wanted, clean
from mmesid.data.delimited import QUOTE, REWRITTEN, Dialect, beginning, encoding_of, is_packed, lines, rewrite
from mmesid.data.formats import Part
from mmesid.data.json_lines import is_array, rewrite_json
from mmesid.errors import DataError

# read(connection, file, columns, encoding, a path for a temporary file)
Reader = Callable[[duckdb.DuckDBPyConnection, Part, Wanted, str, Path], Any]


def delimited(connection: duckdb.DuckDBPyConnection, part: Part, wanted: Wanted, encoding: str, aside: Path) -> Any:
    """CSV and its kin. What DuckDB refuses is gone through line by line, which mends it or names the line."""
    encoding = encoding_of(part, encoding)
    dialect, first = _choose(part, wanted, encoding)
    found, width = wanted.locate(part.path, _header(part, wanted, first)), len(first)
    path = part.path if encoding.startswith("utf-8") else _transcode(part, encoding, aside)
    if not any("\n" in field or "\r" in field for field in first):  # by the first line's end DuckDB knows all others
        with suppress(duckdb.Error):
            return _read_csv(connection, path, dialect, found, width)
    mended = aside.with_suffix(".mended")
    try:
        rewrite(part, dialect, encoding, width, mended)
    except DataError:
        if part.format.quotes == "maybe":
            with suppress(duckdb.Error):
                return _read_csv(connection, path, dialect._replace(quoted=False), found, width)
        raise
    return _read_csv(connection, mended, REWRITTEN, found, width)


def json(connection: duckdb.DuckDBPyConnection, part: Part, wanted: Wanted, encoding: str, aside: Path) -> Any:
    """JSON lines or one array."""
    encoding = encoding_of(part, encoding)
    if encoding == "utf-8":
        try:
            form = "array" if is_array(part, encoding) else "newline_delimited"
            return _read_json(connection, part.path, form, part, wanted)
        except duckdb.Error:
            pass
    rewrite_json(part, encoding, aside)
    return _read_json(connection, aside, "newline_delimited", part, wanted)


def parquet(connection: duckdb.DuckDBPyConnection, part: Part, wanted: Wanted, encoding: str, aside: Path) -> Any:
    """Parquet; names that pandas makes up for an index without one are no columns."""
    source = connection.sql(f"SELECT * FROM read_parquet({engine.place(part.path)})")
    kinds = dict(zip(source.columns, map(str, source.types), strict=True))
    found = wanted.locate(part.path, clean(source.columns))
    chosen = {new: source.columns[place] for new, place in found.items()}
    try:
        return _select(connection, f"read_parquet({engine.place(part.path)})", chosen, kinds)
    except duckdb.ConversionException:
        blobs = [name for name in chosen.values() if kinds[name] == "BLOB"]
        raise DataError(_say_bytes(connection, part, blobs)) from None


READERS: dict[str, Reader] = {"delimited": delimited, "json": json, "parquet": parquet}


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
    """How much sense a dialect makes: columns found, whether all records have as many fields, whether quotes fit."""
    try:
        records, fits = beginning(part, dialect, encoding), True
    except csv.Error:
        records, fits = beginning(part, dialect._replace(quoted=False), encoding), False
    if not records:
        raise DataError(f"{part.path} is empty: it has neither a header nor rows")
    found = len(set(wanted.find(_header(part, wanted, records[0]))) & {*wanted.required, *wanted.named})
    even = all(len(record) == len(records[0]) for record in records)
    return (found, even, fits, len(records[0]) > 1), dialect, records[0]


def _header(part: Part, wanted: Wanted, first: list[str]) -> list[str]:
    """The columns' names: those of the first record, or their positions where it is a row."""
    return clean(first, part.format.typed) if wanted.has_header() else [str(n + 1) for n in range(len(first))]


def _read_csv(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    dialect: Dialect,
    found: dict[str, int],
    width: int,
) -> Any:
    fields = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(width))
    quote = engine.literal(QUOTE if dialect.quoted else "")
    options = {
        "auto_detect": "false",
        "header": str(dialect.header).lower(),
        "delim": engine.literal(dialect.delimiter),
        "quote": quote,
        "escape": quote,
        "compression": "'gzip'" if is_packed(path) else "'none'",
        "columns": f"{{{fields}}}",
    }
    source = f"read_csv({engine.place(path)}, {', '.join(f'{name}={value}' for name, value in options.items())})"
    if width == 1:
        source += " WHERE c0 IS NOT NULL"  # a blank line is a row to DuckDB here
    chosen = {new: f"c{place}" for new, place in found.items()}
    return _select(connection, source, chosen, dict.fromkeys(chosen.values(), "VARCHAR"))


def _read_json(connection: duckdb.DuckDBPyConnection, path: Path, form: str, part: Part, wanted: Wanted) -> Any:
    compression = "gzip" if is_packed(path) else "uncompressed"
    options = f"{engine.place(path)}, format='{form}', compression='{compression}'"
    listed = connection.sql(
        f"WITH objects AS (SELECT json_keys(json) AS keys, row_number() OVER () AS number, json_type(json) AS kind "
        f"FROM read_json_objects({options})), named AS (SELECT unnest(keys) AS name, "
        "generate_subscripts(keys, 1) + 10000 * number AS place FROM objects) "
        "SELECT name, min(place), (SELECT bool_and(kind = 'OBJECT') FROM objects) FROM named GROUP BY name ORDER BY 2"
    ).fetchall()
    if not listed or not listed[0][2]:
        raise duckdb.InvalidInputException("not every line is an object")
    keys = [str(name) for name, *_ in listed]
    chosen = {new: keys[place] for new, place in wanted.locate(part.path, clean(keys)).items()}
    columns = ", ".join(f"{engine.literal(name)}: 'JSON'" for name in chosen.values())
    return _select(
        connection, f"read_json({options}, columns={{{columns}}})", chosen, dict.fromkeys(chosen.values(), "JSON")
    )


def _select(connection: duckdb.DuckDBPyConnection, source: str, chosen: dict[str, str], kinds: dict[str, str]) -> Any:
    selected = [f"{engine.plain(name, kinds[name])} AS {engine.quoted(new)}" for new, name in chosen.items()]
    return connection.sql(f"SELECT {', '.join(selected)} FROM {source}").to_arrow_table()


def _transcode(part: Part, encoding: str, target: Path) -> Path:
    with target.open("w", encoding="utf-8", newline="") as out:
        out.writelines(lines(part, encoding))
    return target


def _say_bytes(connection: duckdb.DuckDBPyConnection, part: Part, blobs: list[str]) -> str:
    for name in blobs:
        column = engine.quoted(name)
        rows = connection.sql(
            f"SELECT min(row) FROM (SELECT row_number() OVER () AS row, {column} FROM read_parquet("
            f"{engine.place(part.path)})) WHERE {column} IS NOT NULL AND try(decode({column})) IS NULL"
        ).fetchall()
        if rows[0][0]:
            return f"{part.path}, row {rows[0][0]}, column {name}: its bytes are not UTF-8 text; store it as text"
    return f"{part.path} cannot be read as parquet: a value does not convert"
