"""JSON that DuckDB does not take, read line by line: what can be meant is written anew, the rest is named by line."""

import json
import re
from collections.abc import Collection
from itertools import islice
from pathlib import Path
from typing import Any

from mmesid.data.columns import listed
from mmesid.data.delimited import lines
from mmesid.data.formats import Part
from mmesid.data.object_lines import encodable, literal
from mmesid.errors import DataError

WHOLE_TABLE = (
    "{}: expected an object for each row, found one that holds the whole table: {}. Write rows, as pandas does with "
    "to_json(path, orient='records', lines=True)"
)
DECODER = json.JSONDecoder(parse_constant=lambda _: None)  # NaN is not JSON, but Python writes it
HEAD = 1000  # lines in which the first row stands
NEXT = re.compile(r"[^\s,]")  # where the next of several objects begins


def is_array(part: Part, encoding: str) -> bool:
    """Whether the file is one JSON array, by its first character."""
    first = next((line.strip() for line in lines(part, encoding) if line.strip()), "")
    return first[:1] == "[" and not _is_plain_list(first)


def rewrite_json(part: Part, encoding: str, target: Path, known: Collection[str]) -> None:
    """The same objects, one a line, as strict JSON; lines that are Python dictionaries (Amazon, Steam) are taken too.

    Args:
        part: the file.
        encoding: of its text.
        target: the file to write.
        known: columns by which a row is known.

    Raises:
        DataError: a line is no object, names it; or one object holds whole columns.
    """
    found = _whole(part, encoding) if is_array(part, encoding) else _each(part, encoding)
    if len(found) == 1:
        found = _unwrapped(part, found[0], known)
    with target.open("w", encoding="utf-8") as out:
        out.writelines(encodable(json.dumps(row, ensure_ascii=False)) + "\n" for row in found)


def first_row(part: Part, encoding: str, known: Collection[str]) -> dict[str, Any]:
    """The first row of a file, whatever form its objects have; empty where none is found in its first lines."""
    text = "".join(islice(lines(part, encoding), HEAD))
    start = text.find("{")
    try:
        row, end = DECODER.raw_decode(text, max(0, start))
    except ValueError:
        row, end = _python(text.strip().partition("\n")[0]), start
    if not isinstance(row, dict):
        return {}
    return row if "{" in text[end:] else _unwrapped(part, row, known)[0]


def _each(part: Part, encoding: str) -> list[dict[str, Any]]:
    rows = []
    try:
        for number, line in enumerate(lines(part, encoding), start=1):
            if line.strip():
                rows.append(_object(part, number, line))
    except DataError:
        rows = _stream("".join(lines(part, encoding)))
        if not rows:
            raise
    return rows


def _stream(text: str) -> list[dict[str, Any]]:
    """The objects of a text, whatever lines they stand in, with commas between them or not; none if it has others."""
    rows: list[dict[str, Any]] = []
    place = 0
    while start := NEXT.search(text, place):
        try:
            row, place = DECODER.raw_decode(text, start.start())
        except ValueError:
            return []
        if not isinstance(row, dict):
            return []
        rows.append(row)
    return rows


def _unwrapped(part: Part, only: dict[str, Any], known: Collection[str]) -> list[dict[str, Any]]:
    """The rows of a file that is one object: those in its only list of objects, else itself.

    Raises:
        DataError: it holds whole columns, or rows by their number.
    """
    lists = [value for value in only.values() if isinstance(value, list) and value]
    tables = [rows for rows in lists if all(isinstance(row, dict) for row in rows)]
    if len(tables) == 1 and not set(known) & set(only):
        return tables[0]
    held = [list(value) if isinstance(value, dict) else len(value) for value in only.values() if _is_column(value)]
    if len(held) == len(only) > 1 and all(rows == held[0] for rows in held):
        raise DataError(WHOLE_TABLE.format(part.path, listed(only)))
    if set(only) - {"index"} == {"columns", "data"}:  # as pandas does with orient='split'
        raise DataError(WHOLE_TABLE.format(part.path, listed(only)))
    return [only]


def _is_column(value: object) -> bool:
    """Whether it holds several values, in their order or by their row."""
    return isinstance(value, list | dict) and len(value) > 1


def _whole(part: Part, encoding: str) -> list[dict[str, Any]]:
    try:
        rows = DECODER.decode("".join(lines(part, encoding)))
    except ValueError as error:
        raise DataError(f"{part.path}: expected one JSON array of objects, {error}") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{part.path}, element {number}: expected a JSON object, found {type(row).__name__}")
    return list(rows)


def _object(part: Part, number: int, line: str) -> dict[str, Any]:
    try:
        row = DECODER.decode(line)
    except ValueError as error:
        row = _python(line)
        if row is None:
            raise DataError(f"{part.path}, line {number}: expected one JSON object, {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"{part.path}, line {number}: expected one JSON object, found {type(row).__name__}")
    return row


def _python(line: str) -> Any:
    try:
        return literal(line.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _is_plain_list(line: str) -> bool:
    """Whether a line is a whole JSON list without objects: no beginning of an array of objects."""
    if not line.endswith("]"):
        return False
    try:
        value: list[Any] = json.loads(line)
    except ValueError:
        return False
    return not any(isinstance(part, dict) for part in value)
