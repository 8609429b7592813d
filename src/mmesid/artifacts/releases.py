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

RELEASES: Mapping[str, Mapping[Table, tuple[str, ...]]] = MappingProxyType(
    {
        "2014": {
            "interactions": ("reviews_{}_5.json.gz", "reviews_{}_5.json"),
            "items": ("meta_{}.json.gz", "meta_{}.json"),
        },
        "2018": {
            "interactions": ("{}_5.json.gz", "categoryFilesSmall/{}_5.json.gz", "{}_5.json"),
            "items": ("meta_{}.json.gz", "metaFiles2/meta_{}.json.gz", "metaFiles/meta_{}.json.gz", "meta_{}.json"),
        },
        "2023": {
            "interactions": ("{}.jsonl.gz", "review_categories/{}.jsonl.gz", "{}.jsonl", "review_categories/{}.jsonl"),
            "items": (
                *("meta_{}.jsonl.gz", "meta_categories/meta_{}.jsonl.gz"),
                *("meta_{}.jsonl", "meta_categories/meta_{}.jsonl"),
            ),
        },
        "2023-5core": {
            "interactions": ("{}.csv.gz", "benchmark/5core/rating_only/{}.csv.gz", "{}.csv"),
            "items": (
                *("meta_{}.jsonl.gz", "raw/meta_categories/meta_{}.jsonl.gz"),
                *("meta_{}.jsonl", "raw/meta_categories/meta_{}.jsonl"),
            ),
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
