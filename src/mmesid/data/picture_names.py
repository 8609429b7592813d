"""Which picture file a name means: the names of a table and of files seldom agree to the letter.

A name is looked for by as many of its last parts as fit: exactly, then whatever the letter case, Unicode form and
percent signs, then with another suffix. Folders that only one side has do not matter, nor do those that all files or
all names begin with; a name whose folders contradict the file's does not mean it. Where two files fit equally well,
none is taken, and where different names lead to one file, it is that of the one which is its own. Of a cell that lists
several names the first that leads to a file counts.
"""

import bisect
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mmesid.artifacts.items import canonical_id
from mmesid.data.formats import natural, unquote
from mmesid.data.nested import leaves, parsed
from mmesid.data.no_values import NO_VALUE

SUFFIXES = ("jpg", "jpeg", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "ppm")
SUFFIX = re.compile(rf"\.(?:{'|'.join(SUFFIXES)})$", re.IGNORECASE)
LINK = re.compile(r"(?:[a-z][a-z0-9+.-]+:)?//", re.IGNORECASE)
HOST = re.compile(rf"{LINK.pattern}[^/?#]*", re.IGNORECASE)
QUERY = re.compile(rf"({SUFFIX.pattern[:-1]})[?#].*$", re.IGNORECASE)
SLASHES = re.compile(r"[/\\]+")
NOISE = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")  # what systems leave among files
LONGEST = 1000  # characters of a name; what is longer is a picture written as text
FOLDERS = ("", ".", "images")  # leading parts that mean nothing


class Found(NamedTuple):
    """The file of a name, or why there is none; neither where no name was given."""

    place: str | None
    fault: str | None


NO_PICTURE = Found(None, None)


class PictureNames:
    """Finds files by name.

    Args:
        places: every file's place inside `images/` or the archive.
        names: all that will be looked for.
    """

    def __init__(self, places: Iterable[str], names: Iterable[str] = ()) -> None:
        self._exact: dict[str, list[str]] = defaultdict(list)
        self._folded: dict[str, list[str]] = defaultdict(list)
        self._stems: dict[str, list[str]] = defaultdict(list)
        self._own: dict[str, list[str]] = defaultdict(list)  # by stems to the letter
        self._whole: dict[str, str] = {}
        for place in sorted(places):
            parts = parts_of(place)
            self._whole["/".join(parts)] = place
            for _, end in _ends(parts):
                self._exact[end].append(place)
                self._folded[fold(end)].append(place)
                if SUFFIX.search(end):
                    stem = canonical_id(SUFFIX.sub("", end))
                    self._own[stem].append(place)
                    self._stems[fold(stem)].append(place)
        self._sorted = sorted((fold(parts_of(place)[-1]), place) for place in self._whole.values())
        asked = [parts_of(_without_host(name)) for name in names]
        self._file_prefix = _common_folders(map(parts_of, self._whole.values()))
        self._name_prefix = _common_folders(asked)
        for parts in asked if self._file_prefix or self._name_prefix else ():
            self._agree(parts)

    def by_cell(self, cell: str) -> tuple[Found, str]:
        """The file that a table's cell means, and by which of its names."""
        names = _names(cell)
        found = [(self.by_name(name), name) for name in names]
        if first := next((pair for pair in found if pair[0].place), None):
            return first
        if cell.strip() in NO_VALUE:
            return NO_PICTURE, cell
        return found[0] if self._whole or not all(map(LINK.match, names)) else (NO_PICTURE, cell)

    def by_name(self, name: str) -> Found:
        """The file that a name means."""
        parts = parts_of(_without_host(name))
        if (place := self._whole.get("/".join(parts))) is not None:
            return Found(place, None)
        for count, end in _ends(parts):
            for candidates in (self._exact.get(end), self._folded.get(fold(end))):
                if fitting := self._fitting(candidates, parts, count):
                    return _only(fitting)
        for count, end in _ends(parts):
            if fitting := self._fitting(self._stems.get(fold(canonical_id(SUFFIX.sub("", end)))), parts, count):
                return _only(fitting)
        if name.startswith("data:") or len("/".join(parts)) > LONGEST:
            return Found(None, "missing: the cell holds the picture itself, write it as a file into images/")
        return Found(None, f"missing: no such file among the images, {self._nearest(parts[-1])}")

    def by_ids(self, item_ids: Sequence[object]) -> list[Found]:
        """The files whose names are items' ids, whatever their suffix, if any; an item without one has no picture.

        What is one item's to the letter is no other's.
        """
        ids = [canonical_id(item_id) if isinstance(item_id, str) else "" for item_id in item_ids]
        own = {item_id: self._own.get(item_id) or self._exact.get(item_id, []) for item_id in ids if item_id}
        taken = {place for places in own.values() for place in places}
        found = []
        for item_id in ids:
            alike = self._stems.get(fold(item_id), ()) if item_id else ()
            candidates = own.get(item_id) or [place for place in alike if place not in taken]
            top = [place for place in candidates if len(parts_of(place)) == 1]
            found.append(_only(top or candidates) if candidates else NO_PICTURE)
        return _unshared(found, ids)

    def by_folders(self, item_ids: Sequence[object]) -> list[Found]:
        """The first picture, by name, of the folder that is called like each item's id; none where two folders are."""
        held: dict[str, dict[str, str]] = defaultdict(dict)  # id -> folder -> its first picture
        for place in sorted(self._whole.values(), key=lambda place: natural(SUFFIX.sub("", place))):
            folder, _, name = place.rpartition("/")
            if folder and SUFFIX.search(name):
                held[canonical_id(folder.rpartition("/")[2])].setdefault(folder, place)
        firsts = [list(held.get(canonical_id(item_id), {}).values()) if item_id else [] for item_id in item_ids]
        return [_only(places) if places else NO_PICTURE for places in firsts]

    def _agree(self, parts: list[str]) -> None:
        """Folders in which a name and a file agree are no mere beginnings."""
        for count, end in _ends(parts):
            if candidates := self._exact.get(end) or self._folded.get(fold(end)):
                self._name_prefix = min(self._name_prefix, len(parts) - count)
                self._file_prefix = min(self._file_prefix, *(len(parts_of(place)) - count for place in candidates))
                return

    def _fitting(self, candidates: list[str] | None, parts: list[str], count: int) -> list[str]:
        """The files whose folders do not contradict those of a name, of which the last `count` parts are theirs."""
        if not candidates or len(parts) - count <= self._name_prefix:
            return candidates or []
        return [place for place in candidates if len(parts_of(place)) - count <= self._file_prefix]

    def _nearest(self, name: str) -> str:
        """The file whose name comes next in the order of names."""
        if not self._sorted:
            return "there are none"
        at = bisect.bisect_left(self._sorted, (fold(name), ""))
        return f"the nearest is {self._sorted[min(at, len(self._sorted) - 1)][1]!r}"


def find(names: Sequence[object], item_ids: Sequence[object], places: Sequence[str]) -> list[Found]:
    """The file of each item: by the names of the table, or by the items' ids where there are none or all are links that
    lead to no file.

    Where ids are the names of folders, it is the first file there; most items must have one, and more than have a file.

    Args:
        names: of each item's picture, or a list of such, null where the table has none. Links lead to no file where
            there are no files at all.
        item_ids: of the same items.
        places: of the files.
    """
    cells = [cell for cell in names if isinstance(cell, str)] if places else []
    files = PictureNames(places, (name for cell in cells for name in _names(cell)))
    pairs = [files.by_cell(cell) if isinstance(cell, str) else (NO_PICTURE, "") for cell in names]
    found = _unshared([one for one, _ in pairs], ["/".join(parts_of(_without_host(name))) for _, name in pairs])
    if not places or any(one.place for one, _ in pairs):
        return found
    if not all(_is_no_name(cell, item_id) for cell, item_id in zip(names, item_ids, strict=True)):
        return found
    by_id, by_folder = files.by_ids(item_ids), files.by_folders(item_ids)
    in_folders = sum(one.place is not None for one in by_folder)
    if 2 * in_folders >= len(by_folder) and in_folders > sum(one.place is not None for one in by_id):
        return by_folder
    return by_id if any(one.place or one.fault for one in by_id) else found


def say_by_ids(names: Sequence[object], found: Sequence[Found]) -> list[str]:
    """A sentence where pictures were `found` by the items' ids although the table's `names` are links."""
    taken = [
        (cell, one.place)
        for cell, one in zip(names, found, strict=True)
        if isinstance(cell, str) and one.place and LINK.search(cell) and not _leads(cell, one.place)
    ]
    if not taken:
        return []
    return [
        f"links in the column image that lead to no file, where pictures are taken by item_id: {len(taken):,}, the "
        f"first is {taken[0][0]!r}, and {taken[0][1]!r} is taken"
    ]


def parts_of(path: str) -> list[str]:
    """Folders and name, without leading parts that mean nothing; at least the name."""
    parts = SLASHES.split(path.strip())
    while len(parts) > 1 and parts[0] in FOLDERS:
        parts = parts[1:]
    return parts


def is_noise(place: str) -> bool:
    """Whether a file was left by a system and is no picture of the catalogue."""
    parts = SLASHES.split(place)
    return parts[-1].startswith("._") or any(part in NOISE for part in parts)


def fold(name: str) -> str:
    """Equal for names that differ in letter case, Unicode form or percent signs alone."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", unquote(name)).casefold())


def _names(cell: str) -> list[str]:
    """The names that a cell holds: of a list those that look like pictures or links, else the whole cell."""
    held = parsed(cell.strip())
    listed = [part.strip() for part in (re.split("[,;|]", cell) if held is None else leaves(held))]
    pictures = [name for name in listed if SUFFIX.search(_without_host(name)) or LINK.match(name)]
    if held is None:
        return pictures if pictures == listed else [cell]
    return pictures or listed or [cell]


def _is_no_name(cell: object, item_id: object) -> bool:
    """Whether a cell does not say which file it means: nothing, links, or the item's id."""
    if not isinstance(cell, str) or cell.strip() in NO_VALUE or canonical_id(cell) == item_id:
        return True
    return all(map(LINK.match, _names(cell)))


def _leads(cell: str, place: str) -> bool:
    """Whether any name that a cell holds is the file's own, but for its folders and its suffix."""
    own, *stems = (
        fold(canonical_id(SUFFIX.sub("", parts_of(name)[-1]))) for name in (place, *map(_without_host, _names(cell)))
    )
    return own in stems


def _without_host(name: str) -> str:
    """The path of a URL, any other name without what a URL would have behind it."""
    host = HOST.match(name)
    return (host and re.split("[?#]", name[host.end() :])[0]) or QUERY.sub(r"\1", name)


def _ends(parts: list[str]) -> Iterator[tuple[int, str]]:
    """How many last parts, and these joined; all of them first."""
    return ((len(parts) - start, "/".join(parts[start:])) for start in range(len(parts)))


def _common_folders(paths: Iterable[list[str]]) -> int:
    """How many leading folders are the same for all that have any."""
    folders = {tuple(parts[:-1]) for parts in paths if len(parts) > 1}
    if not folders:
        return 0
    low, high = min(folders), max(folders)
    return next(
        (n for n, pair in enumerate(zip(low, high, strict=False)) if pair[0] != pair[1]), min(len(low), len(high))
    )


def _unshared(found: list[Found], names: list[str]) -> list[Found]:
    """No file for different names: it stays with the one that is its own, to the letter.

    Args:
        found: by each name.
        names: as they are, or stems.
    """
    claims: dict[str, dict[str, str]] = defaultdict(dict)
    for one, name in zip(found, names, strict=True):
        if one.place:
            claims[one.place].setdefault(_plain(name), name)
    shared = {place: of for place, of in claims.items() if len(of) > 1 and _differ(list(of))}
    return [
        Found(None, _say_shared(one.place, _plain(name), shared[one.place]))
        if one.place in shared and not _is_own(one.place, name)
        else one
        for one, name in zip(found, names, strict=True)
    ]


def _plain(name: str) -> str:
    """A name without percent signs, in one Unicode form, its suffix in small letters."""
    return SUFFIX.sub(lambda found: found[0].lower(), unicodedata.normalize("NFC", unquote(name)))


def _differ(names: list[str]) -> bool:
    """Whether any is not the end of the longest."""
    longest = f"/{max(names, key=len)}"
    return not all(longest.endswith(f"/{name}") for name in names)


def _is_own(place: str, name: str) -> bool:
    own = _plain("/".join(parts_of(place)))
    return _plain(name) in (own, canonical_id(SUFFIX.sub("", own)), canonical_id(SUFFIX.sub("", parts_of(own)[-1])))


def _say_shared(place: str, name: str, claims: dict[str, str]) -> str:
    other = next(shown for key, shown in claims.items() if key != name)
    return f"shared: {other!r} leads to {place!r} as well"


def _only(candidates: list[str]) -> Found:
    if len(candidates) == 1:
        return Found(candidates[0], None)
    return Found(None, f"ambiguous: {candidates[0]!r} and {candidates[1]!r} both fit")
