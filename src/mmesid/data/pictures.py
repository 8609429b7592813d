"""Pictures of a catalogue: the folder `images/` or the archive `images.zip`, read as bytes, never decoded."""

import contextlib
import re
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from mmesid.artifacts.source import catalogue_files
from mmesid.data.picture_names import is_noise
from mmesid.errors import DataError

NEAR = re.compile(r"(?:image|img|picture|pic|photo|poster|cover|thumbnail)s?(?:\.zip|\.tar|\.tgz|\.tar\.gz)?", re.I)
FOLDER, ARCHIVE = "images", "images.zip"
UTF_8 = 0x800  # the flag of a ZIP archive that a name is UTF-8, else it is read as code page 437


def list_pictures(folder: Path) -> list[str]:
    """The place of every file inside `images/` or `images.zip`, but for what systems leave there; often empty.

    Raises:
        DataError: there are both, or the archive is damaged.
    """
    directory, archive = folder / FOLDER, folder / ARCHIVE
    if directory.is_dir() and archive.exists():
        raise DataError(f"{folder} has both {FOLDER}/ and {ARCHIVE}; keep the one that is meant")
    if directory.is_dir():
        places = [path.relative_to(directory).as_posix() for path in catalogue_files(directory)]
    elif archive.exists():
        with _open(archive) as opened:
            places = list(_members(opened))
    else:
        places = []
    return sorted(place for place in places if not is_noise(place))


def near_places(folder: Path) -> list[str]:
    """Where pictures may lie instead: what is called much like `images/` or `images.zip`."""
    names = (path.name for path in folder.iterdir() if path.is_dir() or path.suffix)
    return sorted(name for name in names if NEAR.fullmatch(name) and name not in (FOLDER, ARCHIVE))


def read_pictures(folder: Path, places: Iterable[str | None]) -> list[bytes | None]:
    """The bytes of each file, None where no place is given.

    Args:
        folder: the source's folder.
        places: as `list_pictures` gave them.

    Raises:
        DataError: the archive or a file in it is damaged or encrypted.
    """
    if not (folder / ARCHIVE).exists():
        return [None if place is None else (folder / FOLDER / place).read_bytes() for place in places]
    with _open(folder / ARCHIVE) as archive:
        members = _members(archive)
        return [None if place is None else _extract(archive, members[place]) for place in places]


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by their names. Some packers write UTF-8 without saying so."""
    members = {}
    for info in archive.infolist():
        name = info.filename
        if not info.flag_bits & UTF_8:
            with contextlib.suppress(UnicodeError):
                name = name.encode("cp437").decode("utf-8")
        if not info.is_dir():
            members[name] = info
    return members


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is not a readable ZIP archive ({error}); pack the pictures again") from None


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(member)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        place = f"{archive.filename}: {member.filename}"
        raise DataError(f"{place} cannot be unpacked ({error}); pack the pictures again") from None
