"""JSON that DuckDB does not take, read line by line: what can be meant is written anew, the rest is named by line."""

import ast
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mmesid.data.delimited import lines
from mmesid.data.formats import Part
from mmesid.errors import DataError


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
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in found)


def _each(part: Part, encoding: str) -> list[dict[str, Any]]:
    if (only := _only_object(part, encoding)) is not None:
        return [only]
    rows = []
    for number, line in enumerate(lines(part, encoding), start=1):
        if line.strip():
            rows.append(_object(part, number, line))
    return rows


def _only_object(part: Part, encoding: str) -> dict[str, Any] | None:
    """The object that the whole file is, printed over several lines."""
    first = next((line.strip() for line in lines(part, encoding) if line.strip()), "")
    if first[:1] != "{" or _parsed(first) is not None or _python(first) is not None:
        return None
    whole = _parsed("".join(lines(part, encoding)))
    return whole if isinstance(whole, dict) else None


def _unwrapped(part: Part, only: dict[str, Any], known: Collection[str]) -> list[dict[str, Any]]:
    """The rows of a file that is one object: those in its only list of objects, else itself.

    Raises:
        DataError: it holds whole columns.
    """
    lists = [value for value in only.values() if isinstance(value, list) and value]
    tables = [rows for rows in lists if all(isinstance(row, dict) for row in rows)]
    if len(tables) == 1 and not set(known) & set(only):
        return tables[0]
    held = [list(value) if isinstance(value, dict) else len(value) for value in only.values() if _is_column(value)]
    if len(held) == len(only) > 1 and all(rows == held[0] for rows in held):
        raise DataError(
            f"{part.path}: expected an object for each row, found one that holds whole columns: {', '.join(only)}. "
            "Write rows, as pandas does with to_json(path, orient='records', lines=True)"
        )
    return [only]


def _is_column(value: object) -> bool:
    """Whether it holds several values, in their order or by their row."""
    return isinstance(value, list | dict) and len(value) > 1


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except ValueError:
        return None


def _whole(part: Part, encoding: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads("".join(lines(part, encoding)), parse_constant=lambda _: None)
    except ValueError as error:
        raise DataError(f"{part.path}: expected one JSON array of objects, {error}") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{part.path}, element {number}: expected a JSON object, found {type(row).__name__}")
    return list(rows)


def _object(part: Part, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line, parse_constant=lambda _: None)  # NaN is not JSON, but Python writes it
    except ValueError as error:
        row = _python(line)
        if row is None:
            raise DataError(f"{part.path}, line {number}: expected one JSON object, {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"{part.path}, line {number}: expected one JSON object, found {type(row).__name__}")
    return row


def _python(line: str) -> Any:
    try:
        return ast.literal_eval(line.strip())
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
