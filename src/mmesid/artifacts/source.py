"""The raw catalogue of a dataset, `sources/<dataset>`: a folder, a link, or the digest of a folder that stays outside.

`mmesid add` copies a catalogue to `sources/<dataset>` and has DVC track it. With `--external` that folder holds only
`external.yaml`, the digest, which DVC tracks and carries, and `external.link`, which leads to the files on this machine
and which git and DVC leave alone. So a clone without the files knows what they were, and that nothing has changed.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import yaml

from mmesid.errors import DataError

RECORD, LINK = "external.yaml", "external.link"


class Digest(NamedTuple):
    """What a folder holds, by content: neither its place nor the age of its files counts."""

    md5: str  # of every file's relative name and md5
    files: int
    bytes: int


def md5(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def digest(folder: Path, of_file: Callable[[Path], str] = md5) -> Digest:
    """Read every file of a folder, links followed, hidden ones left out.

    Args:
        folder: of the catalogue.
        of_file: the md5 of a file, from a cache perhaps.
    """
    total, size, files = hashlib.md5(), 0, catalogue_files(folder)
    for path in files:
        total.update(f"{path.relative_to(folder).as_posix()} {of_file(path)}\n".encode())
        size += path.stat().st_size
    return Digest(total.hexdigest(), len(files), size)


def catalogue_files(folder: Path, above: tuple[Path, ...] = ()) -> list[Path]:
    """Every file below a folder, links followed, but what is hidden (`.git`, `.DS_Store`).

    Args:
        folder: where to look.
        above: the folders that it lies in; a link back to one of them is passed over.

    Raises:
        DataError: a name is not UTF-8, which neither DVC nor a ZIP archive can hold.
    """
    found: list[Path] = []
    here = (*above, folder.resolve())
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.name != path.name.encode(errors="replace").decode():
            raise DataError(f"{folder} holds {os.fsencode(path.name)!r}, a name that is not UTF-8; rename it")
        if path.is_dir():
            found += catalogue_files(path, here) if path.resolve() not in here else []
        elif path.is_file():
            found.append(path)
    return sorted(found)


def is_external(folder: Path) -> bool:
    """Whether `sources/<dataset>` only stands for a folder that lies elsewhere."""
    return (folder / RECORD).is_file()


def read_record(folder: Path) -> Digest:
    """What the folder outside held when it was last looked at.

    Raises:
        DataError: the record is not one.
    """
    try:
        return Digest(**yaml.safe_load((folder / RECORD).read_text(encoding="utf-8")))
    except (TypeError, yaml.YAMLError, UnicodeDecodeError):
        raise DataError(f"{folder / RECORD} is damaged; {_fetch(folder)}") from None


def missing(folder: Path, home: Path) -> str:
    """What is needed where the files of `sources/<dataset>` are not on this machine; empty where they are.

    Args:
        folder: `sources/<dataset>` of a checkout, or of its copy for an experiment.
        home: the checkout itself.
    """
    name = folder.name
    if is_external(folder):
        link = home / "sources" / name / LINK
        return "" if link.is_dir() else f"`mmesid add {name} --files PATH --external` names the folder on this machine"
    return "" if folder.exists() else _fetch(folder)


def locate(dataset: str, root: Path, home: Path) -> Path:
    """The folder with the files of a dataset.

    Raises:
        DataError: they are not on this machine, or not those that `external.yaml` records.
    """
    folder = root / "sources" / dataset
    if needed := missing(folder, home):
        gone = f" (a link to {folder.readlink()}, which is gone)" if folder.is_symlink() else ""
        raise DataError(f"the files of sources/{dataset} are not here{gone}: {needed}")
    if not is_external(folder):
        return folder
    outside = (home / "sources" / dataset / LINK).resolve()
    if digest(outside) != read_record(folder):
        raise DataError(
            f"{outside} is not as {folder / RECORD} records: `mmesid sources`, which `make repro` calls, or a "
            "retrain takes them as they are now"
        )
    return outside


def _fetch(folder: Path) -> str:
    name = folder.name
    bring = f"`mmesid add {name} --files PATH` brings them"
    if folder.with_name(f"{name}.dvc").exists():
        return f"`dvc pull sources/{name}.dvc` fetches them, or {bring}"
    return bring
