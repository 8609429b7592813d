"""One reader for each kind of file: a file into an Arrow table of plain columns under their canonical names."""

from collections.abc import Callable
from json import loads
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from mmesid.data import engine, foreign_files
from mmesid.data.columns import Wanted, choose_columns, clean
from mmesid.data.delimited import SAMPLE
from mmesid.data.delimited_tables import delimited, header_of
from mmesid.data.encodings import encoding_of, is_packed
from mmesid.data.engine import Read
from mmesid.data.formats import Part
from mmesid.data.json_lines import first_row, is_array, rewrite_json
from mmesid.errors import DataError

SAY_PICTURES = (
    "{}, column image: it holds the pictures themselves; write them as files into images/, named by their item_id, and "
    "drop the column, or let it hold the files' names"
)

# read(connection, file, columns, encoding, a path for a temporary file)
Reader = Callable[[duckdb.DuckDBPyConnection, Part, Wanted, str, Path], Read]


def json(connection: duckdb.DuckDBPyConnection, part: Part, wanted: Wanted, encoding: str, aside: Path) -> Read:
    """JSON lines or one array."""
    encoding = encoding_of(part, encoding)
    if encoding == "utf-8":
        try:
            form = "array" if is_array(part, encoding) else "newline_delimited"
            return Read(_read_json(connection, part.path, form, part, wanted))
        except duckdb.Error:
            pass
    rewrite_json(part, encoding, aside, {*wanted.required, *map(str, wanted.named.values())})
    return Read(_read_json(connection, aside, "newline_delimited", part, wanted))


def parquet(connection: duckdb.DuckDBPyConnection, part: Part, wanted: Wanted, encoding: str, aside: Path) -> Read:
    """Parquet; names that pandas makes up for an index without one are no columns."""
    foreign_files.refuse_no_parquet(part.path)
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
        source.limit(SAMPLE).fetchall,
    )
    if any(name == "image" and "BLOB" in kind != "BLOB" for name, kind in zip(names, kinds, strict=True)):
        raise DataError(SAY_PICTURES.format(part.path))
    blobs = {
        name: engine.quoted(column) for name, column, kind in zip(names, columns, kinds, strict=True) if "BLOB" in kind
    }
    try:
        return Read(engine.select(connection, place, chosen))
    except duckdb.ConversionException:
        raise DataError(_say_bytes(connection, part, place, blobs)) from None


READERS: dict[str, Reader] = {"delimited": delimited, "json": json, "parquet": parquet}


def names_of(part: Part, wanted: Wanted, encoding: str) -> list[str]:
    """The names of a file's columns; of JSON those of its first row."""
    if part.format.kind == "parquet":
        return clean(pq.read_schema(part.path).names)
    if part.format.kind == "delimited":
        return header_of(part, wanted, encoding)
    known = {*wanted.required, *map(str, wanted.named.values())}
    return clean(list(first_row(part, encoding_of(part, encoding), known)))


def _ranges(schema: pa.Schema) -> dict[str, str]:
    """SQL of an index of pandas that counts: it stands in no column."""
    kept = (schema.pandas_metadata or {}).get("index_columns", ())
    counting = [index for index in kept if isinstance(index, dict) and index.get("kind") == "range" and index["name"]]
    return {
        str(index["name"]): f"({index['start']} + {index['step']} * (row_number() OVER () - 1))" for index in counting
    }


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
    head = connection.sql(f"SELECT json FROM read_json_objects({options}) LIMIT {SAMPLE}").fetchall()
    sample = [loads(text) for (text,) in head]
    nested = [key.strip() for key, value in sample[0].items() if isinstance(_plain(value), dict | list)]
    read: list[int] = []

    def sql(place: int, single: bool) -> str:
        read.append(place)
        return engine.plain(f"c{place}", "JSON", single)

    chosen = choose_columns(
        part,
        wanted,
        clean(keys),
        sql,
        nested,
        rows=lambda: [[_plain(row.get(key)) for key in keys] for row in sample],
    )
    if len({keys[place].casefold() for place in read}) == len(read):
        columns = ", ".join(f"{engine.literal(keys[place])}: 'JSON'" for place in read)
        names = ", ".join(f"{engine.quoted(keys[place])} AS c{place}" for place in read)
        return engine.select(connection, f"(SELECT {names} FROM read_json({options}, columns={{{columns}}}))", chosen)
    names = ", ".join(f"json -> {engine.literal(keys[place])} AS c{place}" for place in read)
    return engine.select(connection, f"(SELECT {names} FROM read_json_objects({options}))", chosen)


def _plain(value: Any) -> Any:
    """A value of JSON without the object by which MongoDB writes its type."""
    while isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$"):
        (value,) = value.values()
    return value


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
