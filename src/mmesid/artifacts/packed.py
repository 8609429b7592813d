"""Files packed with gzip, as they are found in the wild."""

import gzip
import io
import re
from pathlib import Path
from typing import Any

BLANK = re.compile(r"Not a gzipped file \(b'(?:\\[nr])+'\)")  # said of a line feed after the last member


class _Unpacked(io.RawIOBase):
    """The bytes of a gzip file; a line feed behind it, as some tools leave, is its end and no damage."""

    def __init__(self, path: Path) -> None:
        self._file = gzip.GzipFile(path)

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        try:
            piece = self._file.read1(len(into))
        except gzip.BadGzipFile as error:
            if self._file.tell() and BLANK.fullmatch(str(error)):
                return 0
            raise
        into[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_gzip(path: Path) -> io.BufferedReader:
    """A gzip file for reading.

    Raises:
        EOFError, gzip.BadGzipFile, zlib.error: while it is read, where it breaks off or is damaged.
    """
    return io.BufferedReader(_Unpacked(path), 1 << 18)
