"""Delimited text: its lines, its header, and the line in which it breaks its own rules."""

import csv
import io
import itertools
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mmesid.data.encodings import not_text, open_bytes
from mmesid.data.formats import Part
from mmesid.errors import DataError

QUOTE = '"'
WHITE = " \t\r\n\x1a"  # what a blank cell may hold; the last is Ctrl-Z, by which DOS ended files
SAMPLE = 20  # records by which delimiters are compared
CHUNK = 1 << 20  # bytes that are read at once
WIDE = 200  # columns from which on no rows are looked for in cells
HEAD = 1 << 16  # bytes in which a file without any line feed is known
SEPARATOR = re.compile(r'"?sep=.?"?\s*', re.IGNORECASE)  # a first line by which Excel is told the delimiter
_BACKSLASHED = re.compile(r'(?<!\\)((?:\\\\)*)\\"')  # a quote with a backslash of its own


class Dialect(NamedTuple):
    """How the fields of a line are told apart."""

    delimiter: str
    quoted: bool
    header: bool  # whether the first record names the columns
    escaped: bool = False  # whether a backslash stands before quotes that belong to the text


REWRITTEN = Dialect(",", quoted=True, header=True)


def lines(part: Part, encoding: str) -> Iterator[str]:
    """The file's lines with their ends; blank where Excel is told the delimiter. Raises as `_lines`."""
    return ("\n" if n == 0 and SEPARATOR.fullmatch(line) else line for n, line in enumerate(_lines(part, encoding)))


def is_odd(part: Part, encoding: str) -> bool:
    """Whether the file begins with what is no record: a line that tells Excel the delimiter, or blank cells."""
    first = next(_lines(part, encoding), "")
    return SEPARATOR.fullmatch(first) is not None or not first.strip(f"{WHITE}{QUOTE},;|")


def begins_with_quote(part: Part, encoding: str) -> bool:
    """Whether the file's first line does, as where all cells are quoted."""
    return next(_lines(part, encoding), "").startswith(QUOTE)


def _lines(part: Part, encoding: str) -> Iterator[str]:
    """The file's lines with their ends.

    Raises:
        DataError: a line is not text of this encoding; names line and byte.
    """
    with open_bytes(part.path) as file:
        if encoding.startswith("utf-8"):
            for number, line in enumerate(_pieces(file), start=1):
                try:
                    yield line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    where = f"line {number}, byte {error.start + 1}"
                    raise not_text(part, where, line[error.start], encoding) from None
            return
        number = 0
        try:
            ends = "\r" if _of_old_macs(part, encoding) else "\n"
            for text in io.TextIOWrapper(file, encoding=encoding, newline=ends):
                number += 1
                yield text
        except UnicodeDecodeError as error:
            raise not_text(part, f"line {number + 1} or later", error.object[error.start], encoding) from None
        except UnicodeError as error:
            raise DataError(f"{part.path} is not {encoding} text: {error}; name another with ingest.encoding") from None


def _of_old_macs(part: Part, encoding: str) -> bool:
    """Whether the file's lines end by a carriage return alone."""
    with open_bytes(part.path) as file:
        head = io.TextIOWrapper(file, encoding=encoding, newline="").read(HEAD)
    return "\n" not in head and "\r" in head


def _pieces(file: BinaryIO) -> Iterable[bytes]:
    """Lines, also of a file whose lines end as they did on old Macs."""
    head = file.read(HEAD)
    file.seek(0)
    return file if b"\n" in head or b"\r" not in head else file.read().splitlines(keepends=True)


def beginning(part: Part, dialect: Dialect, encoding: str) -> list[list[str]]:
    """The fields of the first records that are not blank; raises csv.Error where their quotes make no sense."""
    records = (fields for _, fields in _split(lines(part, encoding), dialect) if fields)
    return list(itertools.islice(records, SAMPLE))


def blank_ends(path: Path, delimiter: str) -> int:
    """How many lines of a file in UTF-8 end by a delimiter, with nothing behind it or what stands for nothing."""
    mark, count, piece = delimiter.encode(), 0, b""
    ends = [mark + blank + feed for blank in (b"", rb"\N") for feed in (b"\n", b"\r\n")]
    with open_bytes(path) as file:
        while more := file.read(CHUNK) + file.readline():
            piece = more
            count += sum(map(piece.count, ends))
    return count + piece.endswith((mark, mark + rb"\N"))


def rewrite(part: Part, dialect: Dialect, encoding: str, width: int, target: Path) -> int:
    """The same records as the dialect `REWRITTEN`, checked line by line.

    Args:
        part: the file.
        dialect: how its fields are told apart.
        encoding: of its text.
        width: fields of every record.
        target: the file to write.

    Returns:
        Bytes that its longest record may have.

    Raises:
        DataError: a record breaks the rules; names its line, or that in which its quote opens.
    """
    kept: list[str] = []  # lines of the record under way
    longest, expected = 0, 0
    last = 0  # line in which the record before ended
    with target.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(f"c{number}" for number in range(width))
        is_header = dialect.header
        records = _split(_remembered(lines(part, encoding), kept), dialect)
        while True:
            try:
                end, fields = next(records)
            except StopIteration:
                return longest
            except csv.Error:
                raise DataError(_say_quote(part, dialect, last, kept)) from None
            if fields and not is_header:
                expected = expected or (width if any(fields[width:]) else max(width, len(fields)))
                if len(fields) != expected:
                    raise DataError(_say_width(part, dialect, last, kept, len(fields), expected))
                fields = fields[:width]
                writer.writerow(fields)
                longest = max(longest, 4 * sum(map(len, fields)) + 3 * width)
            is_header = is_header and not fields
            last = end
            kept.clear()


def refuse_uneven(part: Part, dialect: Dialect, encoding: str, width: int) -> None:
    """Raises DataError where some records have fields beyond the last column and others have not, blank as they are.

    A delimiter too many may stand anywhere in such a record, and shifts what stands behind it.
    """
    kept: list[str] = []
    last, expected, is_header = 0, 0, dialect.header
    with suppress(csv.Error):
        for end, fields in _split(_remembered(lines(part, encoding), kept), dialect):
            if fields and not is_header:
                expected = expected or len(fields)
                if len(fields) != expected and max(len(fields), expected) > width:
                    raise DataError(_say_width(part, dialect, last, kept, len(fields), expected))
            is_header = is_header and not fields
            last = end
            kept.clear()


def _split(text: Iterable[str], dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """The last line and the fields of each record; no fields where all of them are blank."""
    for number, fields in _fields(text, dialect):
        yield number, fields if any(field.strip(WHITE) for field in fields) else []


def _fields(text: Iterable[str], dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    if dialect.quoted:
        csv.field_size_limit(sys.maxsize)
        if dialect.escaped:
            text = (_BACKSLASHED.sub(r'\1""', line) for line in text)
        reader = csv.reader(text, delimiter=dialect.delimiter, quotechar=QUOTE, skipinitialspace=True, strict=True)
        for fields in reader:
            yield reader.line_num, fields
        return
    for number, line in enumerate(text, start=1):
        bare = line.rstrip("\r\n")
        yield number, bare.split(dialect.delimiter)


def _remembered(text: Iterable[str], kept: list[str]) -> Iterator[str]:
    for line in text:
        kept.append(line)
        yield line


def _opening(record: list[str], delimiter: str) -> int | None:
    """The line of a broken record, from 0, in which the quote opens that is to blame: one with text behind its end, one
    that never ends, one that ends in a later line; the last of these."""
    state, opened, spanning = "start", 0, None
    for number, line in enumerate(record):
        for character in line:
            if state == "quoted":
                state = "closed" if character == QUOTE else state
                spanning = opened if state == "closed" and number > opened else spanning
            elif character == QUOTE and state in ("start", "closed"):
                opened = number if state == "start" else opened
                state = "quoted"
            elif character in (delimiter, "\r", "\n"):
                state = "start"
            elif state == "closed":
                return opened
            else:
                state = "plain"
    return opened if state == "quoted" else spanning


def say_return(part: Part, line: int, text: str) -> str:
    """What is wrong with a line, counted from 1, that has a carriage return inside; empty where it has none."""
    bare = text.rstrip("\r\n")
    if "\r" not in bare:
        return ""
    return (
        f"{part.path}, line {line}: a carriage return stands inside of the line, as where some lines end as on old "
        f"Macs and others do not. The line reads {bare[:60]!r}; let all lines end alike, by a line feed"
    )


def _say_quote(part: Part, dialect: Dialect, last: int, record: list[str]) -> str:
    if QUOTE not in "".join(record) and (said := say_return(part, last + len(record), record[-1])):
        return said
    line = last + 1 + (_opening(record, dialect.delimiter) or 0)
    end = last + len(record)
    text = record[line - last - 1].strip()[:60]
    plain = part.format.quotes == "always" and dialect.delimiter in "|\t"
    ending = "; where quotes are characters like others, as is usual with this delimiter, call the file .dat"
    where = "in the same line" if end == line else f"in line {end}"
    return (
        f"{part.path}, line {line}: a quote opens here and never closes as it should; what stands {where} is no end "
        f"of a field. The line reads {text!r}; close the quote, or double one that belongs to the text"
        f"{ending if plain else ''}"
    )


def _say_width(part: Part, dialect: Dialect, last: int, record: list[str], found: int, width: int) -> str:
    if QUOTE not in "".join(record) and (said := say_return(part, last + len(record), record[-1])):
        return said
    opening = _opening(record, dialect.delimiter) if dialect.quoted and len(record) > 1 else None
    line = last + 1 + (opening or 0)
    spans = "" if opening is None else f": a quote opens here and closes in line {last + len(record)}"
    text = record[opening or 0].strip()[:60]
    return f"{part.path}, line {line}{spans}: expected {width} fields, found {found}. The line reads {text!r}"
