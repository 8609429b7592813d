"""The one engine that reads tables, DuckDB, and the SQL that makes plain columns of a file's values.

DuckDB, because it alone reads CSV with delimiters of several characters, gzip, Parquet and JSON lines, and names the
line in which a CSV breaks. It streams: what outgrows memory spills to disk, so that nothing must ever be replaced.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from mmesid import host

NUMBERS = ("Long", "Int", "Double", "Decimal")
KEPT = re.compile(r"U?(TINY|SMALL|BIG)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*|TIMESTAMP.*|DATE|VARCHAR")
EXTENDED = ('$."$oid"', '$."$date"."$numberLong"', '$."$date"', *(f'$."$number{of}"' for of in NUMBERS))


class Read(NamedTuple):
    """What was read of a file: an Arrow table, and a sentence on each thing that is doubtful about it."""

    table: Any
    notes: tuple[str, ...] = ()


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory that keeps the order of rows, spills to a folder that goes with it, and loads nothing."""
    with host.scratch() as folder:
        settings: dict[str, Any] = {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "temp_directory": str(folder),
            "arrow_large_buffer_size": True,  # text with 64-bit offsets, as pandas holds it
        }
        connection = duckdb.connect(config=settings)
        connection.execute("SET TimeZone = 'UTC'")
        try:
            yield connection
        finally:
            connection.close()


def ask(column: Any, question: str) -> Any:
    """The answer, an Arrow table, to a question about one Arrow column: `value` in the table `asked`."""
    with connect() as connection:
        connection.register("asked", pa.table({"value": column}))
        return connection.sql(question).to_arrow_table()


def select(connection: duckdb.DuckDBPyConnection, source: str, columns: Mapping[str, str]) -> Any:
    """An Arrow table of columns, given as SQL by their names, of a source."""
    selected = [f"{sql} AS {quoted(name)}" for name, sql in columns.items()]
    return connection.sql(f"SELECT {', '.join(selected)} FROM {source}").to_arrow_table()


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def place(path: Path) -> str:
    """A file's path in SQL, as itself and not as a pattern."""
    return literal(re.sub(r"([\[*?])", r"[\1]", str(path)))


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def plain(name: str, kind: str, single: bool = False) -> str:
    """SQL that gives a column as text, number or time, whatever the file holds; lists of words are joined.

    Args:
        name: of the column.
        kind: its type, as DuckDB writes it.
        single: it holds one value a row: a list of several stays one, as JSON.
    """
    column = quoted(name)
    if KEPT.fullmatch(kind):
        return column
    if kind == "BLOB":
        return f"decode({column})"
    if kind == "JSON":
        words = f"array_to_string(json_extract_string({column}, '$[*]'), ', ')"
        if single:
            words = f"CASE WHEN json_array_length({column}) > 1 THEN {column}::VARCHAR ELSE {words} END"
        return (
            f"CASE json_type({column}) WHEN 'VARCHAR' THEN {column} ->> '$' WHEN 'NULL' THEN NULL "
            f"WHEN 'ARRAY' THEN {words} WHEN 'DOUBLE' THEN {_number(column)} "
            f"WHEN 'OBJECT' THEN coalesce({_extended(column)}, {column}::VARCHAR) ELSE {column}::VARCHAR END"
        )
    if kind.endswith("]") and not any(nested in kind for nested in ("STRUCT", "MAP", "][", "BLOB")):
        words = f"array_to_string({column}::VARCHAR[], ', ')"
        return f"CASE WHEN len({column}) > 1 THEN to_json({column})::VARCHAR ELSE {words} END" if single else words
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP")):
        return f"to_json({column})::VARCHAR"
    return f"{column}::VARCHAR"


def _number(column: str) -> str:
    """A number of JSON as text; what Python writes where there is none is null."""
    return f"CASE WHEN {column}::VARCHAR IN ('NaN', 'Infinity', '-Infinity') THEN NULL ELSE {column}::VARCHAR END"


def _extended(column: str) -> str:
    """The value of an object by which MongoDB's extended JSON writes one that JSON has no type for."""
    return ", ".join(f"{column} ->> {literal(path)}" for path in EXTENDED)
