"""Files of one object a line, as Amazon's releases are: what can be read, and each line that cannot, with its reason.

A line is JSON, a dictionary as Python prints it, or a row of a table with a header. Lines are read one by one, so a
file may be larger than memory; `row` counts those that are not blank from 1, broken ones included.
"""

import ast
import csv
import gzip
import json
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from mmesid.artifacts.packed import open_gzip
from mmesid.errors import DataError, first_line

GZIP = b"\x1f\x8b"
LONGEST = 1 << 30  # characters of a field of a table; Python's own limit is 131,072
SHOWN = 80  # characters of a broken line that are kept
STRING = re.compile(r"""'([^']*)'|"([^"]*)\"""")  # a whole string literal, where the line has no backslash
CONSTANTS = {"nan": None, "NaN": None, "inf": None, "Infinity": None, "null": None, "true": True, "false": False}
HALF = re.compile(r"\\u[dD][89a-fA-F]")  # of a character beyond 16 bits, as JSON escapes it


class Line(NamedTuple):
    """A line that is not blank: its object, or what is wrong with it."""

    row: int
    found: dict[str, Any] | None
    fault: str = ""
    text: str = ""  # of a faulty line, its beginning


def read_lines(path: Path) -> Iterator[Line]:
    """Every line of a file, packed with gzip or not.

    Raises:
        DataError: the file is damaged or empty.
    """
    with _unpacked(path) as file:
        row = 0
        for raw in file:
            if raw.strip():
                row += 1
                yield _line(row, raw)
        if not row:
            raise DataError(f"{path} is empty: it has no lines")


def read_table(path: Path, expected: Sequence[str]) -> Iterator[Line]:
    """As `read_lines` of a CSV file with a header: objects of text by the header's names.

    Args:
        path: of the file.
        expected: names that the header must hold.

    Raises:
        DataError: also where the first line is no such header.
    """
    csv.field_size_limit(LONGEST)
    with _unpacked(path) as file:
        names: list[str] = []
        row = 0
        for raw in file:
            text, fault = _text(raw)
            if not text.strip():
                continue
            fields = next(csv.reader([text]), [])
            if not names:
                names = [name.strip().lstrip("\ufeff") for name in fields]
                if missing := [name for name in expected if name not in names]:
                    raise DataError(
                        f"{path}: the first line is {text[:SHOWN]!r}, expected is a header that names "
                        f"{', '.join(expected)} between commas; it lacks {', '.join(missing)}: put it there"
                    )
                continue
            row += 1
            if len(fields) != len(names):
                fault = fault or f"{len(fields)} fields, the header has {len(names)}"
            found = None if fault else dict(zip(names, fields, strict=True))
            yield Line(row, found, fault, "" if found else text[:SHOWN])
        if not row:
            raise DataError(f"{path} is empty: it has no rows")


def parse(text: str) -> Any:
    """The value of a line of JSON or Python, in which the other's constants may stand; NaN and infinity are null.

    Most of what Python prints becomes JSON by other quotes, which is read several times as fast; only where a string
    holds a backslash, or JSON has no such value, Python's own reader of literals is asked.

    Raises:
        ValueError, SyntaxError, RecursionError, MemoryError: it is neither.
    """
    if text.startswith('{"'):
        try:
            return json.loads(text, parse_constant=_null, strict=False)
        except ValueError as error:
            try:
                return literal(text)
            except (ValueError, SyntaxError):
                raise error from None
    if "\\" not in text:
        try:
            return json.loads(
                text.replace("'", '"') if '"' not in text else STRING.sub(_requoted, text),
                parse_constant=_null,
                strict=False,
            )
        except ValueError:
            pass
    return literal(text)


def literal(text: str) -> Any:
    """The value of a Python literal, in which CONSTANTS may stand.

    Raises:
        ValueError, SyntaxError, RecursionError, MemoryError: it is none; the message names the part that is none, and
            is the same on each run.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of backslashes that Python would not write
        try:
            return ast.literal_eval(text)
        except (ValueError, TypeError):
            value = _Constants().visit(ast.parse(text.strip(), mode="eval").body)
            if _is_literal(value):
                return ast.literal_eval(value)
            raise ValueError(f"{ast.unparse(_refused(value))[:SHOWN]} is no literal") from None


def encodable(text: str) -> str:
    """Halves of UTF-16 pairs as the characters that they make; one alone, as of a text that was cut, is replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _requoted(found: "re.Match[str]") -> str:
    inner = found[1] if found[1] is not None else found[2]
    return '"' + inner.replace('"', '\\"') + '"'


def _null(_: str) -> None:
    """What NaN and infinity stand for."""


class _Constants(ast.NodeTransformer):
    """Turns names and -inf into the constants that they stand for."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(CONSTANTS[node.id]) if node.id in CONSTANTS else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        endless = isinstance(node.operand, ast.Name) and node.operand.id in ("inf", "Infinity")
        return ast.Constant(None) if endless else node


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError):
        return False
    return True


def _refused(node: ast.expr) -> ast.expr:
    """The part of a value that is no literal: inside of dictionaries and lists the first one, else the whole."""
    within = ast.iter_child_nodes(node) if isinstance(node, ast.Dict | ast.List | ast.Tuple | ast.Set) else ()
    parts = (part for part in within if isinstance(part, ast.expr))
    return next((_refused(part) for part in parts if not _is_literal(part)), node)


def _line(row: int, raw: bytes) -> Line:
    text, fault = _text(raw)
    if not fault:
        try:
            found = parse(text)
            if isinstance(found, dict):
                return Line(row, _paired(found) if HALF.search(text) else found)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            fault = f"neither JSON nor a Python dictionary: {getattr(error, 'msg', '') or first_line(error)}"
        else:
            fault = f"expected an object, found {type(found).__name__}"
    return Line(row, None, fault, text[:SHOWN])


def _paired(found: dict[str, Any]) -> Any:
    """The object with halves of characters made whole or replaced."""
    return json.loads(encodable(json.dumps(found, ensure_ascii=False, default=str)))


def _text(raw: bytes) -> tuple[str, str]:
    """A line as text, and what is wrong with it as such."""
    try:
        return raw.decode("utf-8").strip().lstrip("\ufeff"), ""
    except UnicodeDecodeError as error:
        return raw.decode("utf-8", "replace").strip(), f"not UTF-8: {error.reason}"


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked where they are gzip.

    Raises:
        DataError: they break off or are damaged.
    """
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    try:
        with open_gzip(path) if packed else path.open("rb") as unpacked:
            yield unpacked
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged: {first_line(error)}; fetch it again") from None
