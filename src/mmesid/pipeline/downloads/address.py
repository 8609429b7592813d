"""What lies at `ingest.base_url`: asked without fetching, recorded in `sources/<dataset>`, and brought to this machine.

The record is what DVC tracks. Where it changes, `ingest` is due, so new data under the same address is noticed by
whoever asks anew: `mmesid add`, `mmesid sources` (which `make repro` calls) and each retrain.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmesid import config
from mmesid.artifacts import releases, source
from mmesid.artifacts.releases import TABLES, Announced, Record, Table
from mmesid.config import Ingest
from mmesid.errors import ConfigError, DataError, without_secret
from mmesid.pipeline.downloads import cache
from mmesid.pipeline.downloads.asking import Absent, Asker, Refused, Unanswered, persistently
from mmesid.pipeline.downloads.cache import Cache
from mmesid.pipeline.downloads.files import fetch_all, look

SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:/?/", re.IGNORECASE)  # also where a path has lost one of two slashes
AGAIN = "`mmesid sources`, which `make repro` calls, asks the address anew"


class Brought(NamedTuple):
    """A folder, and the names of the files in it."""

    folder: Path
    interactions: str
    items: str


def is_remote(base_url: str) -> bool:
    """Whether it is an address, not a folder."""
    return base_url.lower().startswith(("http://", "https://"))


def bare(base_url: str) -> str:
    """An address or folder without the slashes at its end, which name no other place."""
    return base_url.rstrip("/") or base_url


def ask(section: Ingest, root: Path = Path()) -> Record:
    """What the address holds of the release's two files.

    Args:
        section: where, and which release and category.
        root: from which a relative folder counts.

    Raises:
        DataError: it gives no answer, or a file is not there.
    """
    base_url, category = section.base_url or "", section.category or ""
    _check_address(base_url, root)
    files: dict[str, Announced] = {}
    with Asker(section.connections) as asker:
        for table in TABLES:
            tried = _names(section, table)
            found = _find(asker, base_url, tried) if is_remote(base_url) else _in_folder(root / base_url, tried)
            if found is None:
                raise DataError(
                    f"{without_secret(base_url)} has no {table}: expected is one of {', '.join(tried)}; "
                    f"ingest.{table} names another, ingest.category and ingest.release say which there should be"
                )
            files[table] = found
    return Record(base_url, section.release, category, files)


def _check_address(base_url: str, root: Path) -> None:
    """Raises DataError where it is neither a folder nor an address below which files may lie."""
    if base_url != without_secret(base_url):
        raise DataError(
            "ingest.base_url holds a password, which conf/ and git would keep: name a folder or a public address"
        )
    if is_remote(base_url):
        if mark := next((mark for mark in "?#" if mark in base_url), ""):
            raise DataError(
                f"ingest.base_url is {base_url}: the names of files are put behind it, so that it may hold no {mark}; "
                "name the address of their folder"
            )
    elif scheme := SCHEME.match(base_url):
        raise DataError(f"ingest.base_url begins with {scheme[0]}: expected are http://, https:// or a folder's path")
    elif not (root / base_url).is_dir():
        raise DataError(
            f"there is no such folder: {root / base_url}; ingest.base_url names a folder or an address, which begins "
            "with https:// or http://"
        )


def refresh(name: str, root: Path) -> str:
    """Ask a dataset's address anew, where it has one, and record what lies there.

    Args:
        name: of the dataset.
        root: the project's folder.

    Returns:
        A line for people where the address gives no answer, or no such files, and the last record stays; else nothing.

    Raises:
        DataError: the same, where there is no record of this address yet.
    """
    try:
        section = config.load(name, root).ingest
    except ConfigError:  # `configure` will say what is wrong
        return ""
    if section.source != "amazon":
        return ""
    folder = root / "sources" / name
    try:
        releases.write_record(folder, ask(section, root))
    except DataError as error:
        record = releases.read_record(folder)
        if record is None or not _is_of(record, section):
            raise
        return f"sources/{name} stays as it was recorded: {error}"
    return ""


def is_here(record: Record, section: Ingest, root: Path = Path()) -> bool:
    """Whether a record is of the address that is named, and this machine has all its files, so that nobody is asked."""
    if not _is_of(record, section):
        return False
    if not is_remote(record.base_url):
        return all(_is_recorded(file, root / record.base_url) for file in record.files.values())
    held = Cache(cache.home())
    return all(held.find(_join(record.base_url, file.path), file.version, file.bytes) for file in record.files.values())


def bring(folder: Path, section: Ingest, aside: Path, root: Path = Path()) -> Brought:
    """The two files on this machine, as `sources/<dataset>` records them: those of a folder stay where they lie.

    Args:
        folder: `sources/<dataset>`.
        section: the parameters.
        aside: a folder for links to what was fetched, under its own name.
        root: from which a relative folder counts.

    Raises:
        DataError: the record is of another address, or what lies there is not what it records.
    """
    record = releases.read_record(folder)
    if record is None:
        raise DataError(f"{folder} holds no {releases.RECORD}: {AGAIN}")
    if not _is_of(record, section):
        raise DataError(f"{folder / releases.RECORD} is of {' '.join(record[:3])}, but ingest names another: {AGAIN}")
    for table, named in (("interactions", section.interactions), ("items", section.items)):
        if named and record.files[table].path != named:
            raise DataError(f"{folder / releases.RECORD} is of {record.files[table].path}, not of {named}: {AGAIN}")
    if is_remote(record.base_url):
        brought = _fetched(record, section, aside)
    else:
        brought = Brought(root / record.base_url, *(record.files[table].path for table in TABLES))
        _check_recorded(record, brought.folder)
    _check_digests(record, section, brought)
    return brought


def _check_digests(record: Record, section: Ingest, brought: Brought) -> None:
    """Raises DataError where a file has another digest than `ingest.sha256` says, or that names no file."""
    files = [record.files[table] for table in TABLES]
    named = {name for file in files for name in (file.path, Path(file.path).name)}
    if unknown := sorted(set(section.sha256) - named):
        raise DataError(
            f"ingest.sha256 names {unknown[0]}, but the files are {files[0].path} and {files[1].path}: name one of them"
        )
    for file, name in zip(files, brought[1:], strict=True):
        wanted = section.sha256.get(file.path) or section.sha256.get(Path(file.path).name)
        if wanted and (found := cache.sha256_of(brought.folder / name)) != wanted:
            if is_remote(record.base_url):
                Cache(cache.home()).forget(_join(record.base_url, file.path))
            raise DataError(f"{name} has the sha256 {found}, but ingest.sha256 says {wanted}: damaged, or another file")


def _fetched(record: Record, section: Ingest, aside: Path) -> Brought:
    announced = [record.files[table] for table in TABLES]
    addresses = [(_join(record.base_url, file.path), file) for file in announced]
    kept = fetch_all(addresses, Cache(cache.home()), section.connections)
    names = [f"{table}/{Path(record.files[table].path).name}" for table in TABLES]  # both may be called alike
    for name, one in zip(names, kept, strict=True):
        (aside / name).parent.mkdir()
        (aside / name).symlink_to(one.path.absolute())
    return Brought(aside, *names)


def _check_recorded(record: Record, folder: Path) -> None:
    for file in record.files.values():
        if not _is_recorded(file, folder):
            raise DataError(f"{folder / file.path} is not as it was recorded: {AGAIN}")


def _is_recorded(file: Announced, folder: Path) -> bool:
    path = folder / file.path
    return path.is_file() and source.md5(path) == file.version


def _is_of(record: Record, section: Ingest) -> bool:
    """Whether a record is of what the parameters name."""
    return record[:3] == (section.base_url, section.release, section.category)


def _names(section: Ingest, table: Table) -> Sequence[str]:
    named = section.interactions if table == "interactions" else section.items
    return [named] if named else releases.names(section.release, section.category or "", table)


def _in_folder(folder: Path, names: Sequence[str]) -> Announced | None:
    path = next(filter(Path.is_file, (folder / name for name in names)), None)
    return Announced(str(path.relative_to(folder)), path.stat().st_size, source.md5(path)) if path else None


def _find(asker: Asker, base_url: str, names: Sequence[str]) -> Announced | None:
    """The first of some files that the server has, as it announces it; None where it has none of them.

    Raises:
        DataError: no answer, or none of them is given and one was refused: a bucket may refuse what it does not have.
    """
    refused = ""
    for name in names:
        address = _join(base_url, name)
        try:
            return persistently(lambda address=address, name=name: look(asker, address, name))  # type: ignore[misc]
        except Absent:
            continue
        except Refused as error:
            refused = refused or f"{name}: {str(error).removeprefix('dead link: ')}"
        except Unanswered as error:
            raise DataError(f"{without_secret(address)} gives no answer: {error}") from None
    if refused:
        raise DataError(
            f"{without_secret(base_url)} does not give {refused}; ingest.base_url, ingest.interactions and "
            "ingest.items say where the files lie"
        )
    return None


def _join(base_url: str, name: str) -> str:
    return f"{base_url.rstrip('/')}/{name}"
