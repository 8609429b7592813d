"""Which encoding a text file has: its mark's, UTF-8 where its bytes are that, else the one that is named.

Bytes of another encoding are valid UTF-8 by chance only, so a file that is valid and has letters beyond ASCII is UTF-8,
whatever is named; one whose lines mostly are is UTF-8 with faults.
"""

import codecs
import gzip
import io
import re
import sys
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mmesid.data import foreign_files
from mmesid.data.formats import Part
from mmesid.errors import DataError

CHUNK = 1 << 22  # bytes that are looked at together
SAMPLED = 1000  # lines beyond ASCII by which garbled text is known
EXAMPLES = {
    "cp1252": "Western",
    "cp1250": "Central European",
    "cp1251": "Cyrillic",
    "mac_roman": "old Macs",
    "gb18030": "Chinese",
    "shift_jis": "Japanese",
}
GARBLED = re.compile(r"[\x80-\x9f]|[\xa0-\u024f]{3}")  # control characters, and accents without a letter between them
_MAGIC = b"\x1f\x8b"  # gzip
_MARKS = {  # that of UTF-16 begins the one of UTF-32
    codecs.BOM_UTF8: "utf-8-sig",
    **dict.fromkeys((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "utf-32"),
    **dict.fromkeys((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "utf-16"),
}
_WIDE = ("utf-16", "utf-32")


class Lines(NamedTuple):
    """How many lines of a file have bytes beyond ASCII that are UTF-8, that are not, and how many it has."""

    valid: int
    broken: int
    all: int

    @property
    def are_utf8(self) -> bool:
        """Whether most of them are UTF-8."""
        return self.valid > self.broken


def is_packed(path: Path) -> bool:
    """Whether the file is gzip, by its first bytes."""
    with path.open("rb") as file:
        return file.read(2) == _MAGIC


def open_bytes(path: Path) -> BinaryIO:
    """The file's bytes, unpacked."""
    return gzip.open(path) if is_packed(path) else path.open("rb")  # type: ignore[return-value]


def encoding_of(part: Part, wanted: str) -> str:
    """The encoding that the file's byte order mark names, UTF-8 where its bytes are that, else the wanted one.

    Raises:
        DataError: there is no encoding of that name, or the file is no text at all.
    """
    try:
        name = codecs.lookup(wanted).name
        io.TextIOWrapper(io.BytesIO(), name)  # takes no codec that makes no text of bytes
    except (LookupError, ValueError):
        raise DataError(f"ingest.encoding: there is no encoding {wanted!r}; {_examples('')} are some") from None
    with open_bytes(part.path) as file:
        start = file.read(foreign_files.START)
    foreign_files.refuse(part.path, start)
    if marked := next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), None):
        return marked
    if b"\0" in start[:4] and not name.startswith(("utf-16-", "utf-32")):
        meant = "utf-16-be" if start[:1] == b"\0" else "utf-16-le"
        raise DataError(
            f"{part.path} looks like UTF-16 without a byte order mark; name it with the key ingest.encoding "
            f"(`mmesid add NAME --encoding {meant}`)"
        )
    if name.startswith(("utf-8", *_WIDE)):
        return name
    return "utf-8" if count_lines(part, SAMPLED).are_utf8 else name


def doubts(part: Part, wanted: str) -> list[str]:
    """A sentence where the encoding that is named is not the file's, or makes text of it that looks garbled."""
    name, encoding = codecs.lookup(wanted).name, encoding_of(part, wanted)
    if name.startswith("utf-8"):
        return []
    if encoding.startswith("utf-8"):
        return [f"{part.shown} is UTF-8 and is read as that, not as {wanted}"]
    if encoding.startswith(_WIDE):
        return []
    texts: list[str] = []
    with open_bytes(part.path) as file:
        for text in io.TextIOWrapper(file, encoding=encoding, errors="replace"):
            if not text.isascii():
                texts.append(text)
            if len(texts) == SAMPLED:
                break
    garbled = [text for text in texts if GARBLED.search(text)]
    if 2 * len(garbled) <= len(texts):
        return []
    return [
        f"{part.shown} is read as {wanted}, and {len(garbled):,} of {len(texts):,} lines with letters beyond ASCII "
        f"look garbled, such as {garbled[0].strip()[:60]!r}; another encoding may be meant, such as {_examples(name)}"
    ]


def not_text(part: Part, where: str, byte: int, encoding: str) -> DataError:
    """The error for a line that is not text of an encoding: to be mended where others are, else another is to be named.

    Args:
        part: the file.
        where: line and byte.
        byte: that is not.
        encoding: as of `encoding_of`.
    """
    advice = (
        "save the file as UTF-8, or name its encoding with the key ingest.encoding (`mmesid add NAME --encoding "
        f"ENCODING`), such as {_examples(encoding)}"
    )
    if not encoding.startswith("utf-8"):
        return DataError(f"{part.path}, {where}: 0x{byte:02x} is not {encoding} text; {advice}")
    lines = count_lines(part)
    if lines.are_utf8:
        advice = (
            f"{lines.broken:,} of {lines.all:,} lines {'is' if lines.broken == 1 else 'are'} not, but {lines.valid:,} "
            "with letters beyond ASCII are: mend what is broken, as where a character was cut in two"
        )
    return DataError(f"{part.path}, {where}: 0x{byte:02x} is not UTF-8 text; {advice}")


def count_lines(part: Part, at_most: int = sys.maxsize) -> Lines:
    """Go over the bytes of a file, until so many lines beyond ASCII are known."""
    valid = broken = number = 0
    with open_bytes(part.path) as file:
        while valid + broken < at_most and (chunk := file.read(CHUNK) + file.readline()):
            lines = chunk.splitlines()
            number += len(lines)
            for line in lines if not chunk.isascii() else ():
                if line.isascii():
                    continue
                try:
                    line.decode()
                    valid += 1
                except UnicodeDecodeError:
                    broken += 1
    return Lines(valid, broken, number)


def _examples(tried: str) -> str:
    """Some encodings, without the one that was tried."""
    return ", ".join(f"{name} ({of})" for name, of in EXAMPLES.items() if codecs.lookup(name).name != tried)
