"""One reader for each kind of file: a file into an Arrow table of plain columns under their canonical names."""

import csv
from collections.abc import Callable
from contextlib import suppress
from json import loads
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from mmesid.data import engine
from mmesid.data.columns import Wanted, choose_columns, clean
from mmesid.data.delimited import (
    QUOTE,
    REWRITTEN,
    Dialect,
    beginning,
    encoding_of,
    is_packed,
    lines,
    names_separator,
    rewrite,
)
from mmesid.data.formats import Part
from mmesid.data.json_lines import is_array, rewrite_json
from mmesid.errors import DataError

SAY_PICTURES = (
    "{}, column image: it holds the pictures themselves; write them as files into images/, named by their item_id, and "
    "drop the column, or let it hold the files' names"
)

LINE = 2_000_000  # bytes that a line may have as a rule

# read(connection, file, columns, encoding, a path for a temporary file)
Reader = Callable[[duckdb.DuckDBPyConnection, Part, Wanted, str, Path], Any]


def delimited(connection: duckdb.DuckDBPyConnection, part: Part, wanted: Wanted, encoding: str, aside: Path) -> Any:
    """CSV and its kin. What DuckDB refuses is gone through line by line, which mends it or names the line."""
    encoding = encoding_of(part, encoding)
    dialect, first = _choose(part, wanted, encoding)
    width = len(first)
    chosen = choose_columns(part, wanted, _header(part, wanted, first), lambda place, _: f"c{place}")
    path = part.path if encoding.startswith("utf-8") else _transcode(part, encoding, aside)
    strange = names_separator(part, encoding) or any("\n" in field or "\r" in field for field in first)
    if not strange:  # by the first line's end DuckDB knows all others
        with suppress(duckdb.Error):
            return _read_csv(connection, path, dialect, chosen, width)
    mended = aside.with_suffix(".mended")
    try:
        longest = rewrite(part, dialect, encoding, width, mended)
    except DataError:
        if part.format.quotes == "maybe":
            with suppress(duckdb.Error):
                return _read_csv(connection, path, dialect._replace(quoted=False), chosen, width)
        raise
    return _read_csv(connection, mended, REWRITTEN, chosen, width, longest)


def json(connection: duckdb.DuckDBPyConnection, part: Part, wanted: Wanted, encoding: str, aside: Path) -> Any:
    """JSON lines or one array."""
    encoding = encoding_of(part, encoding)
    if encoding == "utf-8":
        try:
            form = "array" if is_array(part, encoding) else "newline_delimited"
            return _read_json(connection, part.path, form, part, wanted)
        except duckdb.Error:
            pass
    rewrite_json(part, encoding, aside, {*wanted.required, *map(str, wanted.named.values())})
    return _read_json(connection, aside, "newline_delimited", part, wanted)


def parquet(connection: duckdb.DuckDBPyConnection, part: Part, wanted: Wanted, encoding: str, aside: Path) -> Any:
    """Parquet; names that pandas makes up for an index without one are no columns."""
    place = f"read_parquet({engine.place(part.path)}, hive_partitioning=false)"
    source, schema = connection.sql(f"SELECT * FROM {place}"), pq.read_schema(part.path)
    columns, kinds = source.columns, [str(kind) for kind in source.types]  # the engine renames what differs by case
    names = clean(schema.names)
    chosen = choose_columns(
        part,
        wanted,
        names,
        lambda at, single: engine.plain(columns[at], kinds[at], single),
        [name for name, kind in zip(names, kinds, strict=True) if kind.endswith((")", "]")) and "DEC" not in kind],
        _ranges(schema),
    )
    if any(name == "image" and "BLOB" in kind != "BLOB" for name, kind in zip(names, kinds, strict=True)):
        raise DataError(SAY_PICTURES.format(part.path))
    blobs = {
        name: engine.quoted(column) for name, column, kind in zip(names, columns, kinds, strict=True) if "BLOB" in kind
    }
    try:
        return _select(connection, place, chosen)
    except duckdb.ConversionException:
        raise DataError(_say_bytes(connection, part, place, blobs)) from None


READERS: dict[str, Reader] = {"delimited": delimited, "json": json, "parquet": parquet}


def names_of(part: Part, wanted: Wanted, encoding: str) -> list[str]:
    """The names of a file's columns; of JSON those of its first line, none where that is no object."""
    if part.format.kind == "parquet":
        return clean(pq.read_schema(part.path).names)
    encoding = encoding_of(part, encoding)
    if part.format.kind == "delimited":
        return _header(part, wanted, _choose(part, wanted, encoding)[1])
    with suppress(ValueError):
        first = loads(next(lines(part, encoding), ""))
        return clean(list(first)) if isinstance(first, dict) else []
    return []


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


def _ranges(schema: pa.Schema) -> dict[str, str]:
    """SQL of an index of pandas that counts: it stands in no column."""
    kept = (schema.pandas_metadata or {}).get("index_columns", ())
    counting = [index for index in kept if isinstance(index, dict) and index.get("kind") == "range" and index["name"]]
    return {
        str(index["name"]): f"({index['start']} + {index['step']} * (row_number() OVER () - 1))" for index in counting
    }


def _read_csv(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    dialect: Dialect,
    chosen: dict[str, str],
    width: int,
    longest: int = LINE,
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
        "max_line_size": str(max(LINE, longest)),
        "nullstr": r"['', '\N']",  # the latter is how MySQL, PostgreSQL and Hive write it
        "columns": f"{{{fields}}}",
    }
    source = f"read_csv({engine.place(path)}, {', '.join(f'{name}={value}' for name, value in options.items())})"
    table = _select(connection, source, chosen)
    own = [new for new, sql in chosen.items() if sql.startswith("c")]
    if all(table[new].null_count for new in own):  # rows may be blank, or a line where there is one column
        blank = " AND ".join(f"c{number} IS NULL" for number in range(width))
        table = _select(connection, f"{source} WHERE NOT ({blank})", chosen)
    return table


def _read_json(connection: duckdb.DuckDBPyConnection, path: Path, form: str, part: Part, wanted: Wanted) -> Any:
    compression = "gzip" if is_packed(path) else "uncompressed"
    options = f"{engine.place(path)}, format='{form}', compression='{compression}'"
    listed = connection.sql(
        f"WITH objects AS (SELECT json_keys(json) AS keys, row_number() OVER () AS number, json_type(json) AS kind "
        f"FROM read_json_objects({options})), named AS (SELECT unnest(keys) AS name, "
        "generate_subscripts(keys, 1) + 10000 * number AS place FROM objects) "
        "SELECT name, min(place), (SELECT bool_and(kind = 'OBJECT') FROM objects), (SELECT count(*) FROM objects) "
        "FROM named GROUP BY name ORDER BY 2"
    ).fetchall()
    if not listed or not listed[0][2]:
        raise duckdb.InvalidInputException("not every line is an object")
    if listed[0][3] == 1 and path == part.path:
        raise duckdb.InvalidInputException("the only object may hold all rows")
    keys = [str(name) for name, *_ in listed]
    (first,) = connection.sql(f"SELECT json FROM read_json_objects({options}) LIMIT 1").fetchall()[0]
    nested = [key.strip() for key, value in loads(first).items() if isinstance(value, dict | list)]
    read: list[int] = []

    def sql(place: int, single: bool) -> str:
        read.append(place)
        return engine.plain(f"c{place}", "JSON", single)

    chosen = choose_columns(part, wanted, clean(keys), sql, nested)
    if len({keys[place].casefold() for place in read}) == len(read):
        columns = ", ".join(f"{engine.literal(keys[place])}: 'JSON'" for place in read)
        names = ", ".join(f"{engine.quoted(keys[place])} AS c{place}" for place in read)
        return _select(connection, f"(SELECT {names} FROM read_json({options}, columns={{{columns}}}))", chosen)
    names = ", ".join(f"json -> {engine.literal(keys[place])} AS c{place}" for place in read)
    return _select(connection, f"(SELECT {names} FROM read_json_objects({options}))", chosen)


def _select(connection: duckdb.DuckDBPyConnection, source: str, chosen: dict[str, str]) -> Any:
    selected = [f"{sql} AS {engine.quoted(new)}" for new, sql in chosen.items()]
    return connection.sql(f"SELECT {', '.join(selected)} FROM {source}").to_arrow_table()


def _transcode(part: Part, encoding: str, target: Path) -> Path:
    with target.open("w", encoding="utf-8", newline="") as out:
        out.writelines(lines(part, encoding))
    return target


def _say_bytes(connection: duckdb.DuckDBPyConnection, part: Part, source: str, blobs: dict[str, str]) -> str:
    for name, column in blobs.items():
        if name == "image":
            return SAY_PICTURES.format(part.path)
        rows = connection.sql(
            f"SELECT min(row) FROM (SELECT row_number() OVER () AS row, {column} FROM {source}) "
            f"WHERE {column} IS NOT NULL AND try(decode({column})) IS NULL"
        ).fetchall()
        if rows[0][0]:
            return f"{part.path}, row {rows[0][0]}, column {name}: its bytes are not UTF-8 text; store it as text"
    return f"{part.path} cannot be read as parquet: a value does not convert"
