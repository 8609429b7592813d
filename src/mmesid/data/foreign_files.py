"""Files that are no table as tables are read here, by their first bytes or their ending, and what to do with each."""

from pathlib import Path

from mmesid.errors import DataError

EXPORT, UNPACK = "export the table as CSV or Parquet", "unpack it, or pack it with gzip"
FETCH = "fetch the file anew"
START = 512  # bytes by which a file is known
TAR = slice(257, 262)  # where a tar archive has its mark
KINDS = {  # first bytes -> what the file is, and what to do
    b"PK\x03\x04": ("a workbook or a ZIP archive", EXPORT),
    b"\xd0\xcf\x11\xe0": ("a workbook", EXPORT),
    b"PAR1": ("Parquet", "call it .parquet"),
    b"ORC": ("ORC", EXPORT),
    b"Obj\x01": ("Avro", EXPORT),
    b"ARROW1": ("Arrow's or Feather's file", EXPORT),
    b"SQLite format 3": ("a database of SQLite", EXPORT),
    b"\x28\xb5\x2f\xfd": ("packed with zstd", UNPACK),
    b"BZh": ("packed with bzip2", UNPACK),
    b"\xfd7zXZ": ("packed with xz", UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", UNPACK),
    b"\x1f\x8b": ("packed with gzip twice", "unpack it once"),
    b"version https://git-lfs.github.com": ("a pointer of Git LFS in place of the file", "`git lfs pull` fetches it"),
    b"<!DOCTYPE": ("a web page", FETCH),
    b"<html": ("a web page", FETCH),
    b"<?xml": ("XML", f"{EXPORT}, or, where it is a server's refusal, {FETCH}"),
}
ENDINGS = {  # of files that people keep tables in
    UNPACK: (".zip", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar", ".tgz", ".tar.gz"),
    "save its sheet as CSV": (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"),
    EXPORT: (
        ".orc",
        ".avro",
        ".feather",
        ".arrow",
        ".pkl",
        ".pickle",
        ".db",
        ".sqlite",
        ".rds",
        ".xml",
        ".html",
        ".sql",
    ),
}


def refuse(path: Path, start: bytes) -> None:
    """Raises DataError where a file that is called text is something else.

    Args:
        path: of the file, for the message.
        start: its first START bytes, unpacked.
    """
    if start[TAR] == b"ustar":
        raise DataError(f"{path} is a tar archive, whatever its name says; {UNPACK}")
    for mark, (what, advice) in KINDS.items():
        if start.startswith(mark):
            raise DataError(f"{path} is {what}, whatever its name says; {advice}")


def refuse_no_parquet(path: Path) -> None:
    """Raises DataError where a file that is called Parquet is none, or breaks off."""
    with path.open("rb") as file:
        start = file.read(START)
        file.seek(-min(4, path.stat().st_size), 2)
        end = file.read()
    if not start.startswith(b"PAR1"):
        refuse(path, start)
        raise DataError(f"{path} is no Parquet file, whatever its name says: it begins with {start[:20]!r}; {EXPORT}")
    if end not in (b"PAR1", b"PARE"):  # the latter of an encrypted one
        raise DataError(f"{path} breaks off: a Parquet file ends with PAR1, it ends with {end!r}; {FETCH}")


def advice(name: str) -> str:
    """What to do with a file of this name that is not read; empty where that is not known."""
    return next((says for says, endings in ENDINGS.items() if name.lower().endswith(endings)), "")
