"""What a backslash stands for in text as PostgreSQL's COPY and MySQL's INTO OUTFILE write it, beside `\\N` for null."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmesid.data.encodings import open_bytes

CHUNK = 1 << 22  # bytes that are read at once
NULL = re.compile(rb"""(?:^|[\t,;|:"'])\\N(?:[\t,;|:"'\r\n]|$)""", re.MULTILINE)
ESCAPED = re.compile(r"\\([\\bfnrtv])")
MEANT = {"\\": "\\", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def unescape(table: Any, path: Path) -> Any:
    """The table with what its backslashes stand for, where its file has such a null; else as it is.

    Args:
        table: Arrow table of text.
        path: the file that it was read from, in an encoding that extends ASCII.
    """
    marked = [name for name in table.column_names if _has_backslash(table[name])]
    if not marked or not _has_null(path):
        return table
    for name in marked:
        texts = [text and ESCAPED.sub(lambda found: MEANT[found[1]], text) for text in table[name].to_pylist()]
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.chunked_array([pa.array(texts, table[name].type)]))
    return table


def _has_backslash(column: Any) -> bool:
    return pa.types.is_large_string(column.type) and bool(pc.any(pc.match_substring(column, "\\")).as_py())


def _has_null(path: Path) -> bool:
    with open_bytes(path) as file:
        return any(NULL.search(chunk) for chunk in iter(lambda: file.read(CHUNK) + file.readline(), b""))
