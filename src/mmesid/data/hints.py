"""How to say which column is which, where a file does not: worked out from its names and its first rows."""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from mmesid.data import moments, names
from mmesid.data.moments import look

Given = Mapping[str, str | int]
NO_TIMES = (
    "No column looks like a time: where the rows are in order of time, a column with the row's number does as timestamp"
)
JOIN = "join them in one column, such as 2024-05-31T18:00:00"
ODD_LINES = {  # what a line with a single field is
    r"\d+:": "It names an item, whose rows follow, as in the Netflix Prize: write a row user_id,item_id,timestamp each",
    r"[\w/ ]+: .*": "Blocks of lines `key: value` are no table: write each block as a row",
    r"#.*": "It is a comment, as in SNAP's files: drop the lines that begin with #",
    r".*\x01.*": "Its fields stand apart by Ctrl-A, as Hive writes them: export them with FIELDS TERMINATED BY '\\t'",
}


class Seen(NamedTuple):
    """What is known of a file that lacks a column."""

    table: str  # interactions or items
    present: Sequence[str]  # its columns; positions where it has no header
    nested: Collection[str]  # those that hold objects or lists
    rows: Sequence[Sequence[Any]]  # the first ones, a value for each column

    def values(self, name: str) -> list[Any]:
        """The first values of a column."""
        place = self.present.index(name)
        return [row[place] for row in self.rows if place < len(row)]


def advise(seen: Seen, absent: Sequence[str], given: Given) -> str:
    """What to do about missing columns of a file with a header, in a sentence or several.

    Args:
        seen: the file.
        absent: canonical names of what is missing.
        given: `ingest.columns`.
    """
    plain = [name for name in seen.present if name not in seen.nested and "," not in name and "=" not in name]
    found: dict[str, str | int] = {}
    said = []
    for wanted in absent:
        free = [name for name in plain if name not in found.values()]
        if wanted != "timestamp" and (near := names.id_of(wanted, free, seen.table)):
            found[wanted] = near
            others = names.ids_of(wanted, free, seen.table)[1:4]
            said += [f"{' and '.join(others)} may be meant as {wanted} as well"] if others else []
    if "timestamp" in absent:
        free = [name for name in plain if name not in found.values()]
        times = _times(seen, free)
        found |= {"timestamp": times[0]} if times else {}
        said += _say_times(seen, free, times)
    if inner := _say_nested(seen, [name for name in absent if name not in found]):
        said = [line for line in said if line != NO_TIMES] + [inner]
    if found:
        said.insert(0, f"If that is it: {command(seen.table, given, found)}")
    elif not said:
        said = [f"Name the columns with `mmesid add NAME --columns {_key(seen.table, absent[0])}=...` (ingest.columns)"]
    return ". ".join(said)


def positions(seen: Seen, given: Given) -> str:
    """How to name columns by position: that of the time by its values, those of ids as the first that may be one."""
    places: dict[str, list[Any]] = {}
    for place in range(len(seen.rows[0]) if seen.rows else 0):
        places[str(place + 1)] = [row[place] for row in seen.rows if place < len(row)]
    kinds = {place: look(values) for place, values in places.items()}
    times = [place for kind in ("moment", "day", "form") for place in places if kinds[place] == kind]
    taken = {str(place) for place in given.values()}
    ids = [
        p for p in places if p not in taken and kinds[p] in ("number", "text", "moment") and not _fraction(places[p])
    ]
    found: dict[str, str | int] = {}
    if seen.table == "items":
        found = {"item_id": int(ids[0])} if ids else {}
        titles = [p for p in ids[1:] if any(re.search(r"[^\W\d_]", str(value)) for value in places[p])]
        found |= {"title": int(titles[0])} if titles else {}
        return f"{command(seen.table, given, found)} if they stand so" if found else ""
    known = {key.rpartition(".")[2] for key in given}
    ids = [place for place in ids if place not in times[:1]]
    asked = [name for name in ("user_id", "item_id") if name not in known]
    found = {name: int(place) for name, place in zip(asked, ids, strict=False)}
    if "timestamp" in known:
        return command(seen.table, given, found)
    if not times:
        return f"{command(seen.table, given, found)} if ids stand so. {NO_TIMES}" if found else NO_TIMES
    said = command(seen.table, given, {**found, "timestamp": int(times[0])})
    return f"{said}: field {times[0]} looks like a time{', and ids may stand so' if found else ''}"


def command(table: str, given: Given, found: Given) -> str:
    """`mmesid add` with the columns that are given and those that were found, ready to be pasted."""
    pairs = {**given, **{_key(table, name): column for name, column in found.items()}}
    text = shlex.quote(",".join(f"{name}={column}" for name, column in pairs.items()))
    return f"`mmesid add NAME --columns {text}` (ingest.columns)"


def is_row(first: Sequence[str]) -> bool:
    """Whether the first record is a row and no header: it holds a time or a number, and no well-known name."""
    texts = [field.strip() for field in first]
    if any(names.id_of(wanted, [text], "") for wanted in names.KNOWN for text in texts if not re.search(r"\d", text)):
        return False
    return any(re.fullmatch(r"[\d.:+-]+", text) or look([text]) in ("day", "moment", "form") for text in texts)


def is_header(wanted: str, values: Sequence[str]) -> bool:
    """Whether the first value of a column is a name: a well-known one, or letters above numbers and times."""
    first, rest = str(values[0]).strip(), values[1:]
    if not rest or re.search(r"\d", first):
        return False
    if wanted == "timestamp":
        named = names.moment_rank(first) is not None and look([first]) == "text"
    else:
        named = names.id_of(wanted, [first], "") is not None
    return named or (bool(re.search(r"\w", first)) and look(rest) in ("number", "moment", "day", "form"))


def odd_line(line: str, ending: str) -> str:
    """What a first line with a single field is, and what to do about it."""
    bare = line.strip("\r\n")
    if ending in (".inter", ".item", ".user") and "|" in bare:
        return f"The ending {ending} is for RecBole's files, with tabs; as its fields stand apart by |, copy it as .dat"
    for pattern, says in ODD_LINES.items():
        if re.fullmatch(pattern, bare):
            return f"Line 1 reads {bare[:60]!r}. {says}"
    spaces = ", not by spaces" if " " in bare else ""
    return f"The delimiter looks wrong: line 1 has a single field. Separate fields by commas or tabs{spaces}"


def _key(table: str, name: str) -> str:
    """As `ingest.columns` writes it: `item_id` stands in both tables."""
    return f"{table}.{name}" if name == "item_id" else name


def _fraction(values: Sequence[Any]) -> bool:
    return any(re.fullmatch(r"-?\d+\.\d+", str(value)) for value in values)


def _times(seen: Seen, free: Sequence[str]) -> list[str]:
    """The columns that may hold times, the likeliest first."""
    ranked = []
    for name in free:
        values, called = seen.values(name), names.moment_rank(name)
        kind, parts = look(values), set(names.words(name))
        if kind in ("clock", "text", "empty") and not (kind == "empty" and called == 0):
            continue
        if kind == "number" and (called != 0 or parts & {*names.LENGTH, "day", "at"}):
            continue
        if kind == "moment" and called is None and not _is_written(values):
            continue  # ids may be as long
        later = bool(parts & set(names.LATER))
        class_ = ("moment", "day", "form", "number", "empty").index(kind)
        ranked.append(((later, class_, 2 if called is None else called, len({*map(str, values)}) < 2), name))
    return [name for _, name in sorted(ranked, key=lambda pair: pair[0])]


def _is_written(values: Sequence[Any]) -> bool:
    return any(moments.ISO.fullmatch(str(value)) for value in values)


def _say_times(seen: Seen, free: Sequence[str], times: Sequence[str]) -> list[str]:
    clocks = [name for name in free if look(seen.values(name)) == "clock"]
    if clocks and (not times or look(seen.values(times[0])) != "moment"):
        days = times[:1] or [name for name in free if set(names.words(name)) & {"day", "date"}]
        if days:
            alone = f"; {days[0]} alone leaves the order within a day to that of the file" if times else ""
            return [f"{days[0]} seems to hold the day and {clocks[0]} the time of day: {JOIN}{alone}"]
        return [f"{clocks[0]} holds times of day without their day: {JOIN}"]
    others = [name for name in times[1:] if look(seen.values(name)) != "number"]
    if others:
        return [f"{' and '.join(others[:3])} may be meant as well: take the one that says when the interaction was"]
    return [] if times else [NO_TIMES]


def _say_nested(seen: Seen, missing: Sequence[str]) -> str:
    """A sentence on columns that hold objects, in which what is missing may stand."""
    if not missing:
        return ""
    inside = {name: _keys(seen.values(name)) for name in seen.nested}
    for name, keys in inside.items():
        times = [key for key in keys if names.moment_rank(key) is not None]
        near = [
            key
            for wanted in missing
            for key in (times[:1] if wanted == "timestamp" else [names.id_of(wanted, keys, seen.table)])
            if key
        ]
        if near:
            which = " and ".join(dict.fromkeys(near))
            return f"{name} holds objects or lists, with {which} in them: write what is meant as a column of its own"
    likely = next(
        (name for name in seen.nested if any(names.id_of(wanted, [name], seen.table) for wanted in missing)), ""
    )
    return f"{likely} holds objects or lists: write what is meant of it as a column of its own" if likely else ""


def _keys(values: Sequence[Any]) -> list[str]:
    """The keys of the objects that values are, hold or list."""
    keys: dict[str, None] = {}
    for value in values:
        for held in value if isinstance(value, list) else [value]:
            if isinstance(held, Mapping):
                keys |= dict.fromkeys(held)
                keys |= {key: None for inner in held.values() if isinstance(inner, Mapping) for key in inner}
    return list(keys)
