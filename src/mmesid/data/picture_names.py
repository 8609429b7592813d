"""Which picture file a name means: the names of a table and of files seldom agree to the letter.

A name is looked for by as many of its last parts as fit, so that folders and prefixes on either side do not matter:
exactly, then whatever the letter case, Unicode form and percent signs, then with another suffix. Where two files fit
equally well, none is taken. Of a cell that lists several names the first that leads to a file counts.
"""

import bisect
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mmesid.artifacts.items import canonical_id
from mmesid.data.nested import leaves, parsed

SUFFIXES = ("jpg", "jpeg", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "ppm")
SUFFIX = re.compile(rf"\.(?:{'|'.join(SUFFIXES)})$", re.IGNORECASE)
LINK = re.compile(r"(?:[a-z][a-z0-9+.-]+:)?//", re.IGNORECASE)
HOST = re.compile(rf"{LINK.pattern}[^/?#]*", re.IGNORECASE)
QUERY = re.compile(rf"({SUFFIX.pattern[:-1]})[?#].*$", re.IGNORECASE)
PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2})+")
SLASHES = re.compile(r"[/\\]+")
NOISE = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")  # what systems leave among files
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
    """

    def __init__(self, places: Iterable[str]) -> None:
        self._exact: dict[str, list[str]] = defaultdict(list)
        self._folded: dict[str, list[str]] = defaultdict(list)
        self._stems: dict[str, list[str]] = defaultdict(list)
        self._whole: dict[str, str] = {}
        for place in sorted(places):
            parts = parts_of(place)
            self._whole["/".join(parts)] = place
            for end in _ends(parts):
                self._exact[end].append(place)
                self._folded[fold(end)].append(place)
                if SUFFIX.search(end):
                    self._stems[fold(canonical_id(SUFFIX.sub("", end)))].append(place)
        self._sorted = sorted((fold(parts_of(place)[-1]), place) for place in self._whole.values())

    def by_cell(self, cell: str) -> Found:
        """The file that a table's cell means: a name, or a list of names."""
        names = _names(cell)
        found = [self.by_name(name) for name in names]
        if first := next((one for one in found if one.place), None):
            return first
        return found[0] if self._whole or not all(map(LINK.match, names)) else NO_PICTURE

    def by_name(self, name: str) -> Found:
        """The file that a name means."""
        parts = parts_of(_without_host(name))
        if (place := self._whole.get("/".join(parts))) is not None:
            return Found(place, None)
        for end in _ends(parts):
            for candidates in (self._exact.get(end), self._folded.get(fold(end))):
                if candidates:
                    return _only(candidates)
        for end in _ends(parts):
            if candidates := self._stems.get(fold(SUFFIX.sub("", end))):
                return _only(candidates)
        return Found(None, f"missing: no such file among the images, {self._nearest(parts[-1])}")

    def by_id(self, item_id: str) -> Found:
        """The file whose name is an item's id, whatever its suffix; an item without one has no picture."""
        candidates = self._stems.get(fold(canonical_id(item_id)), [])
        top = [place for place in candidates if len(parts_of(place)) == 1]
        return _only(top or candidates) if candidates else NO_PICTURE

    def _nearest(self, name: str) -> str:
        """The file whose name comes next in the order of names."""
        if not self._sorted:
            return "there are none"
        at = bisect.bisect_left(self._sorted, (fold(name), ""))
        return f"the nearest is {self._sorted[min(at, len(self._sorted) - 1)][1]!r}"


def find(names: Sequence[object], item_ids: Sequence[object], places: Sequence[str]) -> list[Found]:
    """The file of each item: by the names of the table, or by the items' ids where no name leads to any file.

    Args:
        names: of each item's picture, or a list of such, null where the table has none. Links lead to no file where
            there are no files at all.
        item_ids: of the same items.
        places: of the files.
    """
    files = PictureNames(places)
    found = [files.by_cell(cell) if isinstance(cell, str) else NO_PICTURE for cell in names]
    if not places or any(one.place for one in found):
        return found
    by_id = [files.by_id(item_id) if isinstance(item_id, str) else NO_PICTURE for item_id in item_ids]
    return by_id if any(one.place for one in by_id) else found


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
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", _unquote(name)).casefold())


def _names(cell: str) -> list[str]:
    """The names that a cell holds: of a list those that look like pictures or links, else the whole cell."""
    held = parsed(cell.strip())
    listed = [part.strip() for part in (re.split("[,;|]", cell) if held is None else leaves(held))]
    pictures = [name for name in listed if SUFFIX.search(_without_host(name)) or LINK.match(name)]
    if held is None:
        return pictures if pictures == listed else [cell]
    return pictures or listed or [cell]


def _without_host(name: str) -> str:
    """The path of a URL, any other name without what a URL would have behind it."""
    host = HOST.match(name)
    return (host and re.split("[?#]", name[host.end() :])[0]) or QUERY.sub(r"\1", name)


def _unquote(name: str) -> str:
    """`%20` is a space."""
    return PERCENT.sub(lambda found: bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "replace"), name)


def _ends(parts: list[str]) -> Iterator[str]:
    """The last parts joined, all of them first."""
    return ("/".join(parts[start:]) for start in range(len(parts)))


def _only(candidates: list[str]) -> Found:
    if len(candidates) == 1:
        return Found(candidates[0], None)
    return Found(None, f"ambiguous: {candidates[0]!r} and {candidates[1]!r} both fit")
