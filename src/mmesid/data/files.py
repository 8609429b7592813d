"""The source `files`: your own catalogue, a folder of two tables with optional pictures and precomputed embeddings.

    interactions.*                     user_id, item_id, timestamp; further columns are ignored
    items.*                            item_id, any text columns, `image` = name of the picture's file
    images/ or images.zip              optional; without a column `image` a picture is named after its item_id
    embeddings/<modality>_<name>.npz   optional; item_id (n,), embedding (n, D)

A table is a file in one of the formats of `formats.FORMATS`, or a folder of such parts. Nothing is filtered here:
`validate` judges, and can say where each row came from by `file` and `row`. `row` counts data rows from 1, as a person
would: the row after a CSV's header is 1, and blank lines are not counted.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mmesid.artifacts.values import Catalogue, RawEmbedding
from mmesid.data import texts
from mmesid.data.embedding_files import FOLDER, far_from_zero, find_embedding, read_embedding
from mmesid.data.formats import PLAIN, How
from mmesid.data.ids import canonical_ids
from mmesid.data.no_values import NO_VALUE
from mmesid.data.picture_names import find, say_by_ids
from mmesid.data.pictures import list_pictures, read_pictures
from mmesid.data.tables import Table, as_text, read_table, swallowed
from mmesid.data.times import to_timestamps
from mmesid.errors import DataError

INTERACTIONS = ("user_id", "item_id", "timestamp")
RESERVED = ("image_name", "image_fault", "file", "row")


class Read(NamedTuple):
    """A canonical table, and a sentence on each thing that is doubtful about it."""

    frame: pd.DataFrame
    notes: list[str]


def read(folder: Path, embeddings: dict[str, str], how: How = PLAIN) -> Catalogue:
    """Read a folder.

    Args:
        folder: the dataset's folder in `sources/`, or what a link there points to.
        embeddings: names of the precomputed embeddings to read, by modality.
        how: what the files do not say themselves.

    Raises:
        DataError: something is missing or is not what its name says.
    """
    check_folder(folder)
    interactions, items = read_interactions(folder, how), with_pictures(folder, read_items(folder, how))
    own = read_embeddings(folder, embeddings)
    far = [note for kind in own for note in far_from_zero(f"{FOLDER}/{kind}_{embeddings[kind]}.npz", own[kind])]
    return Catalogue(interactions.frame, items.frame, own, (*interactions.notes, *items.notes, *far))


def check_folder(folder: Path) -> None:
    """Raises DataError where the folder is missing, a link to nowhere, or no folder."""
    if folder.is_dir():
        return
    if folder.is_symlink() and not folder.exists():
        raise DataError(f"{folder} links to {folder.readlink()}, which does not exist")
    found = "is not a folder" if folder.exists() else "does not exist"
    raise DataError(f"{folder} {found}; `mmesid add {folder.name} --files PATH` links a folder of yours there")


def read_interactions(folder: Path, how: How = PLAIN) -> Read:
    """Interactions in the order of the files, columns as in `Catalogue`."""
    columns, origin, doubts = read_table(folder, "interactions", INTERACTIONS, how, only=True)
    frame, notes = {}, [*doubts]
    for name in ("user_id", "item_id"):
        frame[name], said = canonical_ids(columns.pop(name), f"interactions: {name}", origin)
        notes += said
    times, more = to_timestamps(columns.pop("timestamp"), origin, how.timestamp_format)
    return Read(pd.DataFrame({**frame, "timestamp": times, **origin.columns()}), [*notes, *more])


def read_items(folder: Path, how: How = PLAIN) -> Read:
    """Items in the order of the files, columns as in `Catalogue`; the pictures themselves are still absent."""
    raw = items_table(folder, how)
    return canonical_items(raw, choose_text(raw, how.text))


def items_table(folder: Path, how: How = PLAIN) -> Table:
    """The items table as its files hold it."""
    return read_table(folder, "items", ("item_id",), how)


def choose_text(raw: Table, text: Sequence[str] | None) -> texts.Choice:
    """The text columns of an items table."""
    columns = {name: as_text(column) for name, column in raw.columns.items()}
    return texts.choose(pd.DataFrame(columns), text, passed_over=("item_id", "image"))


def canonical_items(raw: Table, choice: texts.Choice) -> Read:
    """The items table with the chosen text columns alone.

    Raises:
        DataError: a text column has a name that is needed for something else.
    """
    columns, origin, doubts = raw
    if taken := [column for column in RESERVED if column in choice.columns]:
        raise DataError(
            f"{origin.files[0]} has a column {', '.join(taken)}, a name that is needed for something else; rename it"
        )
    ids, notes = canonical_ids(columns["item_id"], "items: item_id", origin)
    frame = pd.DataFrame({"item_id": ids})
    for name in choice.columns:
        frame[name] = texts.readable(name, as_text(columns[name]))
    frame["image"] = pd.Series(None, frame.index, object)
    frame["image_name"] = as_text(columns["image"]) if "image" in columns else pd.Series(None, frame.index, "str")
    judges = (texts.words_for_none, texts.encoded_twice)
    words = [note for name in choice.columns for judge in judges if (note := judge(name, frame[name], origin))]
    lost = [] if doubts else swallowed(columns, origin)
    return Read(frame.assign(**origin.columns()), [*doubts, *notes, *words, *lost])


def with_pictures(folder: Path, items: Read) -> Read:
    """The items with the pictures that were found, and a column `image_fault` where one that is named was not."""
    frame, notes = items
    files = list_pictures(folder)
    names = frame["image_name"].tolist()
    found = find(names, frame["item_id"].tolist(), files)
    places = pd.Series([one.place for one in found], frame.index, "str")
    faults = pd.Series([one.fault for one in found], frame.index, "str")
    given = frame["image_name"].notna() & ~frame["image_name"].isin(NO_VALUE)
    if not files and (links := int((given & faults.isna()).sum())):
        notes = [*notes, f"links in the column image, which nobody fetches: {links:,}; there are no picture files"]
    notes = [*notes, *say_by_ids(names, found)]
    named = frame["image_name"].fillna(places).where(places.notna() | faults.notna(), None)
    frame["image"] = pd.Series(read_pictures(folder, [one.place for one in found]), frame.index, dtype=object)
    frame["image_name"] = named
    if faults.notna().any():
        frame["image_fault"] = faults
        frame["image_name"] = named.mask(faults.notna() & named.isna(), frame["item_id"])
    return Read(frame, notes)


def read_embeddings(folder: Path, names: Mapping[str, str]) -> dict[str, RawEmbedding]:
    """Precomputed embeddings by modality, of those that are named."""
    return {modality: read_embedding(find_embedding(folder, modality, name)) for modality, name in names.items()}
