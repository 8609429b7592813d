"""Which files a table may be, and where they lie: one table of formats, from which documentation and tests draw."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from mmesid.artifacts.source import catalogue_files
from mmesid.config import Ingest
from mmesid.data import foreign_files
from mmesid.errors import DataError

GZIP = ".gz"
INTERACTIONS_ONLY, ITEMS_ONLY = ("user_id", "timestamp"), ("image", "title")
PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2})+")
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
LOGS = {"Delta": "_delta_log", "Iceberg": "metadata/*.metadata.json", "Hudi": ".hoodie"}


class Format(NamedTuple):
    """How a file of one ending is read."""

    kind: Literal["delimited", "json", "parquet"]
    says: str  # for people
    delimiter: str = ""
    quotes: Literal["always", "maybe", "never"] = "never"  # maybe: where the file makes no sense with them, without
    others: tuple[str, ...] = ()  # delimiters to try where the header makes no sense
    typed: bool = False  # the header's names carry a type behind a colon, which is cut off


_TAB = Format("delimited", "tab-separated text", "\t", "maybe", (",", ";", "|"))
_ATOMIC = Format("delimited", "RecBole's atomic file: tabs, a header of name:type", "\t", typed=True)
_JSON = Format("json", "JSON: one object a line, or one array of objects")

# Text formats may be packed with gzip: `.csv.gz`.
FORMATS: dict[str, Format] = {
    ".csv": Format("delimited", "CSV, quotes as in RFC 4180; also with ; tab or |", ",", "always", (";", "\t", "|")),
    ".tsv": _TAB,
    ".txt": _TAB,
    ".dat": Format("delimited", "text separated by ::, without quotes", "::", others=("\t", ",", "|")),
    ".inter": _ATOMIC,
    ".item": _ATOMIC,
    ".user": _ATOMIC,
    ".jsonl": _JSON,
    ".ndjson": _JSON,
    ".json": _JSON,
    ".parquet": Format("parquet", "Parquet"),
}


class How(NamedTuple):
    """How a catalogue is read, where its files do not say so themselves: keys of the section `ingest`."""

    columns: Mapping[str, str | int] = MappingProxyType({})  # [items.]canonical name: the file's name or position
    encoding: str = "utf-8"
    timestamp_format: str | None = None
    interactions: str | None = None  # file or folder inside the catalogue's folder
    items: str | None = None
    text: Sequence[str] | None = None  # text columns of the items, in their order; None chooses them by rule
    release: str = "2014"  # of Amazon's reviews
    category: str | None = None  # of Amazon's reviews
    max_broken_lines: float = 1.0  # of Amazon's files, the share of lines that cannot be read

    @classmethod
    def of(cls, section: Ingest) -> "How":
        """What the section `ingest` says."""
        return cls(**{name: getattr(section, name) for name in cls._fields})

    def names(self, table: str) -> dict[str, str | int]:
        """The columns that are named for one table; a key with the table's name before it wins."""
        foreign = ITEMS_ONLY if table == "interactions" else INTERACTIONS_ONLY
        common = {key: name for key, name in self.columns.items() if "." not in key and key not in foreign}
        own = {key[len(table) + 1 :]: name for key, name in self.columns.items() if key.startswith(f"{table}.")}
        return common | own


PLAIN = How()


class Part(NamedTuple):
    """One file of a table."""

    path: Path
    shown: str  # its name inside the catalogue's folder
    format: Format
    partitions: Mapping[str, str | None] = MappingProxyType({})  # of folders `name=value` inside the table's own


def format_of(path: Path) -> Format | None:
    """The format that the file's ending names, None where it names none."""
    name = path.name.lower()
    found = FORMATS.get(Path(name.removesuffix(GZIP)).suffix)
    return None if found and found.kind == "parquet" and name.endswith(GZIP) else found


def find_parts(folder: Path, table: str, named: str | None = None) -> list[Part]:
    """The files of a table, in the order in which their rows count.

    Args:
        folder: the catalogue's folder.
        table: `interactions` or `items`: the name of the file without its ending, or of a folder of parts.
        named: the file or folder inside `folder` that holds the table, whatever its name.

    Raises:
        DataError: there is none, or more than one that could be meant.
    """
    found = [folder / named] if named else _candidates(folder, table)
    if named and not found[0].exists():
        raise DataError(f"{folder} has no {named}, which ingest.{table} names; it holds: {_held(folder)}")
    if not found:
        endings = ", ".join(f"{table}{ending}" for ending in FORMATS)
        alone = (
            f". Where there is no such table, {table}.csv with the column item_id alone, a row for each item, will do"
        )
        near = [path.name for path in sorted(folder.iterdir()) if path.name.lower().startswith(f"{table}.")]
        unread = "".join(f". {name} is not read: {says}" for name in near[:1] if (says := foreign_files.advice(name)))
        raise DataError(
            f"{folder} has no {table}: expected is one of {endings} (text also with {GZIP}) or a folder {table}/ of "
            f"such parts; it holds: {_held(folder)}{unread}. `mmesid add NAME --files {folder} --{table} FILE` names "
            f"another{alone if table == 'items' else ''}"
        )
    if len(found) > 1:
        both = " and ".join(path.name for path in found)
        raise DataError(f"{folder} has {both}; keep the one that is meant, or name it with ingest.{table}")
    if not found[0].is_dir():
        return [_part(found[0], folder)]
    return [_part(path, folder, _partitions(path.relative_to(found[0]).parts[:-1])) for path in _members(found[0])]


def unquote(name: str) -> str:
    """`%20` is a space."""
    return PERCENT.sub(lambda found: bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "replace"), name)


def _candidates(folder: Path, table: str) -> list[Path]:
    """Files and folders of parts that are called like the table."""
    return sorted(
        path
        for path in folder.iterdir()
        if (path.name == table and path.is_dir())
        or (format_of(path) and path.name.lower().removesuffix(GZIP).rpartition(".")[0] == table)
    )


def _members(folder: Path) -> list[Path]:
    """Every file of a folder of parts, part-2 before part-10; what begins with _ or . is bookkeeping."""
    for kind, mark in LOGS.items():
        if any(folder.glob(mark)):
            raise DataError(
                f"{folder} is a {kind} table: which of its files count stands in its log, which is not read here. "
                "Export it as plain Parquet, as with Spark's `df.write.parquet`"
            )
    kept = [
        path
        for path in catalogue_files(folder)
        if not any(name[0] in "._" for name in path.relative_to(folder).parts) and path.stat().st_size
    ]
    if not kept:
        raise DataError(f"{folder} is a folder without a file that holds anything")
    return sorted(kept, key=lambda path: [natural(name) for name in path.relative_to(folder).parts])


def _partitions(folders: Sequence[str]) -> dict[str, str | None]:
    """What folders like `name=value`, as Hive and Spark write them, say of the files below."""
    pairs = [map(unquote, folder.split("=", 1)) for folder in folders if "=" in folder]
    return {name: None if value == HIVE_NULL else value for name, value in pairs}


def natural(name: str) -> list[tuple[str, int]]:
    """A key that sorts digits by their number."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", name)]


def _part(path: Path, folder: Path, partitions: Mapping[str, str | None] = MappingProxyType({})) -> Part:
    found = format_of(path)
    if found is None:
        says = foreign_files.advice(path.name)
        raise DataError(
            f"{path} has no ending that says how to read it; expected is one of {', '.join(FORMATS)}"
            f"{says and f'. Of this one: {says}'}"
        )
    return Part(path, path.relative_to(folder).as_posix(), found, partitions)


def _held(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:20]) or "nothing"
