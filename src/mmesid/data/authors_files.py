"""The files of the MME-SID authors (and of SASRec's kin) as a catalogue in the `files` format.

    Beauty_new.txt           a user a line: `user item item ...`, or an interaction a line; numbers from 1, oldest first
    *.pkl, *.pickle          SASRec's item embedding; read without executing it
    *.pt, *.pth              text and image embeddings

A row of an embedding is an item's number; a row 0 that no item has is padding. Which modality it is, its name says.
What lies beside them in the `files` format (items.csv, images/) is taken as it is.
"""

import re
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from mmesid.artifacts.source import catalogue_files
from mmesid.artifacts.values import MODALITIES
from mmesid.data.embedding_files import ALIASES, FOLDER
from mmesid.data.foreign_tensors import PICKLES, TENSORS, Rows, read_rows
from mmesid.errors import DataError

NUMBERS = re.compile(r"[ \t]*\d+(?:[ \t]+\d+)+\s*")
ENCODING = "utf-8-sig"  # with or without a byte order mark
TABLES = ("interactions", "items")
LOOKED_AT = 10_000  # lines by which a table of ratings is told from sequences
TIME = 9  # digits of a time since 1970, from 1973 on
GRADES = 11  # ratings that there are at most: 0 to 10


def find(folder: Path) -> Path | None:
    """The file of sequences, None where a folder holds none, or holds interactions of its own.

    Raises:
        DataError: there are several.
    """
    if not folder.is_dir() or any(path.name.partition(".")[0] == TABLES[0] for path in folder.iterdir()):
        return None
    found = [path for path in sorted(folder.glob("*.txt")) if _is_numbers(path)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{folder} holds several files of sequences ({names}); keep the one that is meant")
    return found[0] if found else None


def convert(folder: Path, sequences: Path, target: Path) -> list[str]:
    """Write the catalogue into `target`; returns what was done, for a person.

    Args:
        folder: with the files.
        sequences: one of them, as `find` gave it.
        target: an empty folder.

    Raises:
        DataError: a line or an embedding is not what it should be.
    """
    interactions = read_sequences(sequences)
    items = sorted(set(interactions["item_id"]), key=int)
    interactions.to_parquet(target / "interactions.parquet", index=False)
    users = interactions["user_id"].nunique()
    notes = [f"{sequences.name}: {users:,} users, {len(items):,} items, {len(interactions):,} interactions, in order"]
    matrices = [path for path in catalogue_files(folder) if path.suffix.lower() in (*PICKLES, *TENSORS)]
    for path in catalogue_files(folder):
        if path != sequences and path not in matrices:
            copy = target / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    if not any(path.name.partition(".")[0] == TABLES[1] for path in target.iterdir()):
        pd.DataFrame({"item_id": items}).to_parquet(target / "items.parquet", index=False)
    (target / FOLDER).mkdir(exist_ok=True)
    _refuse_equal_names(matrices, folder)
    return [*notes, *(_embedding(path, items, target) for path in matrices)]


def read_sequences(path: Path) -> pd.DataFrame:
    """user_id, item_id and timestamp, which is the place in the user's sequence: the file has no times.

    Raises:
        DataError: a line is not `user item item ...`, or all are `user item rating time`.
    """
    _refuse_ratings(path)
    taken: dict[str, list[str]] = {}
    with path.open(encoding=ENCODING, errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            if not NUMBERS.fullmatch(line):
                raise DataError(
                    f"{path}, line {number}: expected `user item item ...`, whole numbers between spaces; it is "
                    f"{line.strip()[:60]!r}"
                )
            user, *items = line.split()
            if "0" in items:
                raise DataError(f"{path}, line {number}: item 0 is padding in files of this form; items count from 1")
            taken.setdefault(user, []).extend(items)
    rows = [(user, item, place) for user, items in taken.items() for place, item in enumerate(items, 1)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


def _refuse_ratings(path: Path) -> None:
    """Raises DataError where the lines are a table with times, or with ratings, of users who stand on several lines."""
    with path.open(encoding=ENCODING, errors="replace") as file:
        lines = [line for line in islice(file, LOOKED_AT) if NUMBERS.fullmatch(line)]
    rows = [line.split() for line in lines]
    if not rows or {len(row) for row in rows} not in ({3}, {4}):
        return
    fields = list(zip(*rows, strict=True))
    late = [sum(len(field) >= TIME for field in column) / len(rows) for column in fields]
    has_time = late[-1] > 0.95 and late[1] < 0.05
    has_rating = len(set(fields[2])) <= GRADES < len(set(fields[1])) and 2 * len(set(fields[0])) <= len(rows)
    if not has_time and not has_rating:
        return
    words = ["user", "item", *(["time"] if has_time and len(fields) == 3 else ["rating", "time"][: len(fields) - 2])]
    named = f"user_id=1,interactions.item_id=2,timestamp={len(fields)}"
    tabs = "" if "\t" in lines[0] else " (with tabs instead of spaces between the fields)"
    how = f"`mmesid add NAME --files {path.parent} --interactions {path.name} --columns {named}` reads it{tabs}"
    if words[-1] != "time":
        how = "add a column of times, or of the order in which a user took the items"
    raise DataError(
        f"{path} looks like a table of {', '.join(words)}, as in its first line, {lines[0].strip()!r}, and not like "
        f"`user item item ...`, a user a line; {how}"
    )


def _embedding(path: Path, items: list[str], target: Path) -> str:
    """Write one embedding file; returns what it became."""
    name, rows = _name(path), read_rows(path)
    first = _first_item(path, rows, int(items[-1]))
    matrix = rows.matrix[[int(item) - first for item in items]]
    np.savez(target / FOLDER / name, item_id=np.array(items), embedding=matrix)
    return f"{path.name}: {FOLDER}/{name}, {matrix.shape[1]} wide, row 0 is {'item 1' if first else 'padding'}"


def _first_item(path: Path, rows: Rows, highest: int) -> int:
    """The item of row 0; 0 is padding.

    Raises:
        DataError: the rows are not as many as the items, or their numbers do not say which item each is of.
    """
    count = len(rows.matrix)
    expected = {None: (highest, highest + 1), 0: (highest + 1,), 1: (highest,)}[rows.first]
    if count in expected:
        return int(count == highest)
    if rows.first is None:
        raise DataError(
            f"{path} has {count:,} rows; the items are numbered to {highest:,}, so expected are {highest:,}, or "
            f"{highest + 1:,} with a row 0 of padding"
        )
    raise DataError(
        f"{path} has vectors for the numbers {rows.first} to {rows.first + count - 1:,}, and the items are numbered 1 "
        f"to {highest:,}: number each vector as its item; a vector 0 beside them is padding"
    )


def _refuse_equal_names(matrices: list[Path], folder: Path) -> None:
    """Raises DataError where two files would become one."""
    taken = {path.name: path for path in (folder / FOLDER).glob("*.npz")}
    for path in matrices:
        if (other := taken.setdefault(name := _name(path), path)) != path:
            raise DataError(
                f"{other} and {path} would both become {FOLDER}/{name}: keep the one that is meant, or rename one"
            )


def _name(path: Path) -> str:
    """What an embedding's file will be called."""
    return f"{_modality(path)}_{re.sub(r'[^a-z0-9]+', '_', path.stem.lower()).strip('_')}.npz"


def _modality(path: Path) -> str:
    """What an embedding is of, by the words of its file's name."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    found = {ALIASES.get(word, word) for word in words} & set(MODALITIES)
    if len(found) != 1:
        raise DataError(
            f"{path}: its name says {' and '.join(sorted(found)) or 'no modality'}; rename it so that it holds one of "
            f"{', '.join(MODALITIES)} (or sasrec), like text_llm2clip{path.suffix}"
        )
    return found.pop()


def _is_numbers(path: Path) -> bool:
    """Whether its first line that is not blank holds numbers."""
    with path.open(encoding=ENCODING, errors="replace") as file:
        return bool(NUMBERS.fullmatch(file.read(1_000_000).lstrip().partition("\n")[0]))
