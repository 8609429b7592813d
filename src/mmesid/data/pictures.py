"""Pictures of a catalogue: the folder `images/` or the archive `images.zip`, read as bytes, never decoded."""

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from mmesid.errors import DataError

FOLDER, ARCHIVE = "images", "images.zip"


def list_pictures(folder: Path) -> dict[str, str]:
    """Every file of `images/` or `images.zip` by the name that the items table uses, with its place inside.

    An archive may hold the files at its top or in a folder `images/`. Without pictures the result is empty.

    Raises:
        DataError: there are both, or the archive is damaged.
    """
    directory, archive = folder / FOLDER, folder / ARCHIVE
    if directory.is_dir() and archive.exists():
        raise DataError(f"{folder} has both {FOLDER}/ and {ARCHIVE}; keep the one that is meant")
    if directory.is_dir():
        return {
            (place := path.relative_to(directory).as_posix()): place for path in directory.rglob("*") if path.is_file()
        }
    if not archive.exists():
        return {}
    with _open(archive) as opened:
        members = [info.filename for info in opened.infolist() if not info.is_dir()]
    return {member.removeprefix(f"{FOLDER}/"): member for member in members} | {member: member for member in members}


def read_pictures(folder: Path, names: Iterable[str | None]) -> list[bytes | None]:
    """The bytes of each named picture, None where no name is given or no such file exists.

    Only names that `list_pictures` found are opened, so that no name leads out of the folder.

    Raises:
        DataError: the archive or a file in it is damaged or encrypted.
    """
    places = list_pictures(folder)
    found = [places.get(name) if isinstance(name, str) else None for name in names]
    if not (folder / ARCHIVE).exists():
        return [None if place is None else (folder / FOLDER / place).read_bytes() for place in found]
    with _open(folder / ARCHIVE) as archive:
        return [None if place is None else _extract(archive, place) for place in found]


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is not a readable ZIP archive ({error}); pack the pictures again") from None


def _extract(archive: zipfile.ZipFile, place: str) -> bytes:
    try:
        return archive.read(place)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise DataError(f"{archive.filename}: {place} cannot be unpacked ({error}); pack the pictures again") from None
