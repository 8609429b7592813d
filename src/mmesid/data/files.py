"""The source `files`: your own catalogue, a folder of two tables with optional pictures and precomputed embeddings.

    interactions.*                     user_id, item_id, timestamp; further columns are ignored
    items.*                            item_id, any text columns, `image` = name of the picture's file
    images/ or images.zip              optional
    embeddings/<modality>_<name>.npz   optional; item_id (n,), embedding (n, D)

A table is a file in one of the formats of `formats.FORMATS`, or a folder of such parts. Nothing is filtered here:
`validate` judges, and can say where each row came from by `file` and `row`. `row` counts data rows from 1, as a person
would: the row after a CSV's header is 1, and blank lines are not counted.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mmesid.artifacts.values import Catalogue
from mmesid.data.embedding_files import find_embedding, read_embedding
from mmesid.data.formats import PLAIN, How
from mmesid.data.ids import canonical_ids
from mmesid.data.pictures import read_pictures
from mmesid.data.tables import as_text, read_table, swallowed
from mmesid.data.times import to_timestamps
from mmesid.errors import DataError

INTERACTIONS = ("user_id", "item_id", "timestamp")
RESERVED = ("image_name", "file", "row")


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
    interactions, items = read_interactions(folder, how), read_items(folder, how)
    frame = items.frame
    images = read_pictures(folder, [name if isinstance(name, str) else None for name in frame["image_name"]])
    frame["image"] = pd.Series(images, dtype=object)
    named = {modality: read_embedding(find_embedding(folder, modality, name)) for modality, name in embeddings.items()}
    return Catalogue(interactions.frame, frame, named, (*interactions.notes, *items.notes))


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
    columns, origin = read_table(folder, "interactions", INTERACTIONS, how, only=True)
    frame, notes = {}, []
    for name in ("user_id", "item_id"):
        frame[name], said = canonical_ids(columns.pop(name), f"interactions: {name}", origin)
        notes += said
    times, doubts = to_timestamps(columns.pop("timestamp"), origin, how.timestamp_format)
    return Read(pd.DataFrame({**frame, "timestamp": times, **origin.columns()}), [*notes, *doubts])


def read_items(folder: Path, how: How = PLAIN) -> Read:
    """Items in the order of the files, columns as in `Catalogue`; the pictures themselves are still absent."""
    columns, origin = read_table(folder, "items", ("item_id",), how)
    if taken := [column for column in RESERVED if column in columns]:
        raise DataError(
            f"{folder}: the items table has a column {', '.join(taken)}, a name that is needed for something else; "
            "rename it"
        )
    ids, notes = canonical_ids(columns["item_id"], "items: item_id", origin)
    frame = pd.DataFrame({"item_id": ids})
    texts = [name for name in columns if name not in ("item_id", "title", "image")]
    for name in ("title", *texts):
        frame[name] = as_text(columns[name]) if name in columns else pd.Series(None, frame.index, "str")
    frame["image"] = pd.Series(None, frame.index, object)
    frame["image_name"] = as_text(columns["image"]) if "image" in columns else pd.Series(None, frame.index, "str")
    return Read(frame.assign(**origin.columns()), [*notes, *swallowed(columns, origin)])
