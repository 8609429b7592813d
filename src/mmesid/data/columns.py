"""Which column of a file is which: by its own name, by the name or position that `ingest.columns` gives."""

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from mmesid.data import engine
from mmesid.data.formats import Part
from mmesid.errors import DataError

KNOWN = {  # what others call them
    "user_id": ("user", "uid", "visitor", "customer", "reviewer", "member", "session", "account"),
    "item_id": ("item", "iid", "movie", "asin", "article", "product", "business", "book", "track", "artist", "news"),
    "timestamp": ("time", "date", "t_dat", "ts", "when", "created"),
}
LISTED = 60  # names that a message shows
NO_NAME = re.compile(r"|__index_level_\d+__")


class Wanted(NamedTuple):
    """Which columns of a file are read.

    named: canonical name -> the file's own, or its position from 1 in a file without a header.
    required: canonical names without which the file is of no use.
    only: read no others.
    """

    named: dict[str, str | int]
    required: Collection[str]
    only: bool

    def has_header(self) -> bool:
        """False where columns are named by position."""
        return not any(isinstance(name, int) for name in self.named.values())

    def find(self, present: list[str]) -> dict[str, int]:
        """Canonical name -> position from 0, in the order of the file; what is missing is left out."""
        asked = {name: name for name in self.required} | self.named
        found = {new: place for new, name in asked.items() if (place := _place(new, name, present)) is not None}
        if not self.only:
            taken = set(found.values())
            free = {name: place for place, name in enumerate(present) if place not in taken}
            rest = {name: place for name, place in free.items() if not NO_NAME.fullmatch(name)}
            found = {
                name if self.has_header() or not name.isdigit() else f"column{name}": place
                for name, place in rest.items()
            } | found
        return dict(sorted(found.items(), key=lambda pair: pair[1]))

    def locate(self, path: Path, present: list[str], nested: Collection[str] = ()) -> dict[str, int]:
        """As `find`; raises DataError where a column is missing, or one that is read stands twice.

        Args:
            path: of the file.
            present: its columns.
            nested: those that hold objects or lists, which are no ids or times.
        """
        found = self.find(present)
        read = [present[place] for place in found.values() if not NO_NAME.fullmatch(present[place])]
        if twice := [name for name in read if present.count(name) > 1]:
            raise DataError(f"{path} has the column {twice[0]} {present.count(twice[0])} times; rename or drop one")
        absent = [name for name in {**dict.fromkeys(self.required), **self.named} if name not in found]
        if absent:
            called = [str(self.named.get(name, name)) for name in absent]
            raise DataError(_say_missing(path, called, absent, present, nested))
        return found


def choose_columns(
    part: Part,
    wanted: Wanted,
    names: list[str],
    sql: Callable[[int, bool], str],
    nested: Collection[str] = (),
    beside: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """SQL for each column that is read, by canonical name.

    Args:
        part: the file. Folders `name=value` that it lies in give what it lacks.
        wanted: which columns.
        names: those of the file.
        sql: for the file's column at a position, and whether it holds single values, such as ids.
        nested: those of the names that hold objects or lists.
        beside: SQL of columns that the file only describes.
    """
    folders = {name: "NULL" if value is None else engine.literal(value) for name, value in part.partitions.items()}
    added = {name: f"{text}::VARCHAR" for name, text in ({**beside, **folders}).items() if name not in names}
    found = wanted.locate(part.path, [*names, *added], nested)
    more = list(added.values())
    return {
        new: sql(place, new in wanted.required) if place < len(names) else more[place - len(names)]
        for new, place in found.items()
    }


def clean(names: list[str], typed: bool = False) -> list[str]:
    """Names of a header without outer spaces, byte order mark and, where it is `typed`, the type behind the colon."""
    bare = [name.strip().lstrip("\ufeff").strip() for name in names]
    return [(name.rpartition(":")[0] or name).strip() for name in bare] if typed else bare


def listed(names: Collection[str], shown: int = LISTED) -> str:
    """Names for a message, which are cut where they are too many."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(islice(names, shown)) + more


def nearest(name: str, present: list[str]) -> str | None:
    """The present column that is most likely meant by a canonical name."""
    lowered = {re.sub(r"[^a-z]", "", column.lower()): column for column in reversed(present)}
    near = difflib.get_close_matches(name.replace("_", ""), list(lowered), n=1, cutoff=0.75)
    if near:
        return lowered[near[0]]
    words = KNOWN.get(name, ())
    return next((column for word in words for column in present if column.lower().startswith(word)), None) or next(
        (column for word in words for column in present if word in column.lower() and len(word) > 3), None
    )


def _place(new: str, name: str | int, present: list[str]) -> int | None:
    if isinstance(name, int):
        return name - 1 if 0 < name <= len(present) else None
    return next((present.index(called) for called in (name, new) if called in present), None)


def _say_missing(path: Path, called: list[str], absent: list[str], present: list[str], nested: Collection[str]) -> str:
    """What is missing, what is there, and how to name what is probably meant."""
    message = f"{path} lacks the column {', '.join(called)}; it has: {listed(present)}"
    if len(present) == 1 and not present[0].isidentifier():
        return (
            f"{message}. The delimiter looks wrong: line 1 has a single field. Separate fields by commas or tabs, not "
            "by spaces"
        )
    if sum(bool(re.fullmatch(r"[\d.:+-]+", name)) for name in present) * 2 >= len(present):
        return (
            f"{message}. The first line looks like a row, not like a header: give the columns' positions, "
            "`mmesid add NAME --columns user_id=1,item_id=2,timestamp=4` (ingest.columns)"
        )
    plain = [name for name in present if name not in absent and name not in nested]
    near = {name: column for name in absent if (column := nearest(name, plain))}
    if near:
        pairs = ",".join(f"{name}={column}" for name, column in near.items())
        return f"{message}. If that is it: `mmesid add NAME --columns {pairs}` (ingest.columns)"
    if inner := [column for name in absent if (column := nearest(name, list(nested)))]:
        return f"{message}. {inner[0]} holds objects or lists: write what is meant of it as a column of its own"
    return f"{message}. Name the columns with `mmesid add NAME --columns {absent[0]}=...` (ingest.columns)"
