"""Amazon's review files: how each release calls them, and what `sources/<dataset>/address.yaml` records of an address.

Names are tried in their order; mirrors keep some of them in folders, which stand before the name.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import yaml

from mmesid.artifacts.files import write_atomically
from mmesid.errors import DataError

RECORD = "address.yaml"
REMARK = "# What lies at ingest.base_url, as `mmesid add` or `mmesid sources` saw it last; `ingest` takes no other.\n"
Table = Literal["interactions", "items"]
TABLES: tuple[Table, ...] = ("interactions", "items")


def _places(name: str, *folders: str) -> tuple[str, ...]:
    """A file by itself, then in the publishers' folders, packed; then the same unpacked."""
    return tuple(f"{folder}{name}{packed}" for packed in (".gz", "") for folder in ("", *folders))


_META_2023 = _places("meta_{}.jsonl", "meta_categories/", "raw/meta_categories/")

# Of the benchmark's folders only rating_only/ holds all interactions of a category in one table.
RELEASES: Mapping[str, Mapping[Table, tuple[str, ...]]] = MappingProxyType(
    {
        "2014": {
            "interactions": _places("reviews_{}_5.json", "categoryFiles/"),
            "items": _places("meta_{}.json", "categoryFiles/"),
        },
        "2018": {
            "interactions": _places("{}_5.json", "categoryFilesSmall/"),
            "items": _places("meta_{}.json", "metaFiles2/", "metaFiles/"),
        },
        "2023": {
            "interactions": _places("{}.jsonl", "review_categories/", "raw/review_categories/"),
            "items": _META_2023,
        },
        "2023-5core": {
            "interactions": _places("{}.csv", "benchmark/5core/rating_only/"),
            "items": _META_2023,
        },
    }
)


class Announced(NamedTuple):
    """A file as its address announces it."""

    path: str  # below the address
    bytes: int | None  # None where the server does not say
    version: str  # a server's ETag or time of change, md5 of a file in a folder; empty where the server says neither


class Record(NamedTuple):
    """What an address holds."""

    base_url: str
    release: str
    category: str
    files: dict[str, Announced]  # by table


def names(release: str, category: str, table: Table) -> list[str]:
    """Where a table may lie below the address, the likeliest first."""
    return [name.format(category) for name in RELEASES[release][table]]


def write_record(folder: Path, record: Record) -> bool:
    """Write `address.yaml` into `sources/<dataset>`; returns whether that changed it."""
    files = {table: file._asdict() for table, file in record.files.items()}
    text = REMARK + yaml.safe_dump({**record._asdict(), "files": files}, sort_keys=False, allow_unicode=True)
    path = folder / RECORD
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))
    return True


def is_recorded(folder: Path) -> bool:
    """Whether `sources/<dataset>` stands for what lies at an address."""
    return (folder / RECORD).is_file()


def read_record(folder: Path) -> Record | None:
    """What `address.yaml` says, None where there is none.

    Raises:
        DataError: it is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
        files = {table: Announced(**file) for table, file in held.pop("files").items()}
        return Record(**held, files=files)
    except (TypeError, KeyError, AttributeError, yaml.YAMLError, UnicodeDecodeError):
        raise DataError(f"{path} is damaged; delete it, `mmesid sources` asks the address anew") from None
