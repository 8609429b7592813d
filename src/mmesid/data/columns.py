"""Which column of a file is which: by its own name, by the name or position that `ingest.columns` gives."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from mmesid.artifacts.items import BLANK
from mmesid.data import engine, hints
from mmesid.data.formats import Part
from mmesid.errors import DataError

LISTED = 60  # names that a message shows
Rows = Callable[[], Sequence[Sequence[Any]]]
NO_NAME = re.compile(r"|__index_level_\d+__")


class Wanted(NamedTuple):
    """Which columns of a file are read.

    named: canonical name -> the file's own, or its position from 1 in a file without a header.
    required: canonical names without which the file is of no use.
    only: read no others.
    table: `interactions` or `items`, for messages.
    given: `ingest.columns` of both tables.
    before: of a later part of a table, the name of the first one.
    """

    named: dict[str, str | int]
    required: Collection[str]
    only: bool
    table: str = ""
    given: Mapping[str, str | int] = MappingProxyType({})
    before: str = ""

    def has_header(self) -> bool:
        """False where columns are named by position."""
        return not any(isinstance(name, int) for name in self.named.values())

    def find(self, present: list[str]) -> dict[str, int]:
        """Canonical name -> position from 0, in the order of the file; what is missing is left out."""
        asked = {name: name for name in self.required} | self.named
        found = {
            new: place
            for new, name in asked.items()
            for called in (name, *([new] if self._is_of_both(new) else []))
            if (place := _place(called, present)) is not None
        }
        if not self.only:
            taken = set(found.values())
            free = {name: place for place, name in enumerate(present) if place not in taken}
            rest = {name: place for name, place in free.items() if not NO_NAME.fullmatch(name)}
            found = {
                name if self.has_header() or not name.isdigit() else f"column{name}": place
                for name, place in rest.items()
            } | found
        return dict(sorted(found.items(), key=lambda pair: pair[1]))

    def locate(self, path: Path, present: list[str], nested: Collection[str] = (), rows: Rows = list) -> dict[str, int]:
        """As `find`; raises DataError where a column is missing, could be two, or one that is read stands twice.

        Args:
            path: of the file.
            present: its columns.
            nested: those that hold objects or lists, which are no ids or times.
            rows: for the file's first rows, by which a message says what may be meant.
        """
        found = self.find(present)
        read = [present[place] for place in found.values() if not NO_NAME.fullmatch(present[place])]
        if twice := [name for name in read if present.count(name) > 1]:
            raise DataError(f"{path} has the column {twice[0]} {present.count(twice[0])} times; rename or drop one")
        if doubtful := self._two_meanings(present):
            raise DataError(f"{path} has {doubtful}")
        absent = [name for name in {**dict.fromkeys(self.required), **self.named} if name not in found]
        if absent:
            raise DataError(self._say_missing(path, absent, hints.Seen(self.table, present, nested, rows())))
        return found

    def _is_of_both(self, new: str) -> bool:
        """Whether a column stands in both tables, so that a name given for it may be the other one's."""
        return new == "item_id" and f"{self.table}.{new}" not in self.given and new in self.given

    def _two_meanings(self, present: list[str]) -> str:
        """What is wrong where a name is given for both tables, and this one has a column of the canonical name, too."""
        for new, name in self.named.items():
            if self._is_of_both(new) and new != name and {new, name} <= set(present):
                return (
                    f"both {new} and {name}, which ingest.columns names for both tables: name the one that is meant "
                    f"here, {hints.command(self.table, self.given, {new: new})}"
                )
        return ""

    def _say_missing(self, path: Path, absent: list[str], seen: hints.Seen) -> str:
        """What is missing, what is there, and how to name what is probably meant."""
        called = ", ".join(str(self.named.get(name, name)) for name in absent)
        lacks = f"{path} lacks the column {called}; it has: {listed(seen.present)}"
        if not self.has_header() and all(name.isdigit() for name in seen.present):
            return self._say_position(path, absent, seen)
        if len(seen.present) == 1 and not seen.present[0].isidentifier():
            return f"{lacks}. {hints.odd_line(seen.present[0], path.suffix)}"
        if hints.is_row(seen.present):
            if self.before:
                return (
                    f"{lacks}. Its first line looks like a row, but {self.before} has a header: write the header into "
                    "every part, or drop it there and give the columns' positions (ingest.columns)"
                )
            said = hints.positions(seen._replace(rows=[seen.present, *seen.rows]), self.given)
            return f"{lacks}. The first line looks like a row, not like a header: give the columns' positions, {said}"
        return f"{lacks}. {hints.advise(seen, absent, self.given)}"

    def _say_position(self, path: Path, absent: list[str], seen: hints.Seen) -> str:
        """What is wrong with positions, which are given for some columns."""
        width, called = len(seen.present), self.named.get(absent[0])
        if width == 1 and seen.rows:
            return f"{path} has one field in line 1. {hints.odd_line(str(seen.rows[0][0]), path.suffix)}"
        if isinstance(called, int):
            return (
                f"{path} has no field {called}, which ingest.columns names for {absent[0]}: line 1 has {width} fields"
            )
        if called is not None:
            return (
                f"{path} is read without a header, as ingest.columns gives positions, and has no column {called}: give "
                f"{absent[0]} its position, too, or names for all columns"
            )
        lacks = f"{path} lacks the column {', '.join(absent)}: ingest.columns gives positions, but none for it"
        return f"{lacks}. {hints.positions(seen, self.given)}"


def choose_columns(
    part: Part,
    wanted: Wanted,
    names: list[str],
    sql: Callable[[int, bool], str],
    nested: Collection[str] = (),
    beside: Mapping[str, str] = MappingProxyType({}),
    rows: Rows = list,
) -> dict[str, str]:
    """SQL for each column that is read, by canonical name.

    Args:
        part: the file. Folders `name=value` that it lies in give what it lacks.
        wanted: which columns.
        names: those of the file.
        sql: for the file's column at a position, and whether it holds single values, such as ids.
        nested: those of the names that hold objects or lists.
        beside: SQL of columns that the file only describes.
        rows: for the file's first rows.
    """
    folders = {name: "NULL" if value is None else engine.literal(value) for name, value in part.partitions.items()}
    added = {name: f"{text}::VARCHAR" for name, text in ({**beside, **folders}).items() if name not in names}
    beyond = [part.partitions.get(name) for name in added]
    found = wanted.locate(part.path, [*names, *added], nested, lambda: [[*row, *beyond] for row in rows()])
    more = list(added.values())
    return {
        new: sql(place, new in wanted.required) if place < len(names) else more[place - len(names)]
        for new, place in found.items()
    }


def clean(names: list[str], typed: bool = False) -> list[str]:
    """Names of a header without outer spaces and invisible characters, and, where it is `typed`, the type behind the
    colon."""
    bare = [name.strip(BLANK) for name in names]
    return [(name.rpartition(":")[0] or name).strip() for name in bare] if typed else bare


def listed(names: Collection[str], shown: int = LISTED) -> str:
    """Names for a message, which are cut where they are too many."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(islice(names, shown)) + more


def _place(name: str | int, present: list[str]) -> int | None:
    if isinstance(name, int):
        return name - 1 if 0 < name <= len(present) else None
    return present.index(name) if name in present else None
