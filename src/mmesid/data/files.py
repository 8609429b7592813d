"""The source `files`: your own catalogue, a folder of two tables with optional pictures and precomputed embeddings.

    interactions.{parquet,csv}         user_id, item_id, timestamp; further columns are ignored
    items.{parquet,csv,jsonl}          item_id, any text columns, `image` = name of the picture's file
    images/ or images.zip              optional
    embeddings/<modality>_<name>.npz   optional; item_id (n,), embedding (n, D)

Nothing is filtered here: `validate` judges, and can say where each row came from by `file` and `row`. `row` counts data
rows from 1, as a person would: the row after a CSV's header is 1, and blank lines are not counted.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from mmesid.artifacts.values import Catalogue
from mmesid.data.embedding_files import find_embedding, read_embedding
from mmesid.data.pictures import read_pictures
from mmesid.data.tables import as_seconds, as_text, find_table, read_table
from mmesid.errors import DataError

INTERACTIONS = ("user_id", "item_id", "timestamp")
RESERVED = ("image_name", "file", "row")


def read(folder: Path, embeddings: dict[str, str]) -> Catalogue:
    """Read a folder.

    Args:
        folder: the dataset's folder in `sources/`, or what a link there points to.
        embeddings: names of the precomputed embeddings to read, by modality.

    Raises:
        DataError: something is missing or is not what its name says.
    """
    check_folder(folder)
    interactions = read_interactions(folder)
    items = read_items(folder)
    images = read_pictures(folder, [name if isinstance(name, str) else None for name in items["image_name"]])
    items["image"] = pd.Series(images, dtype=object)
    named = {modality: read_embedding(find_embedding(folder, modality, name)) for modality, name in embeddings.items()}
    return Catalogue(interactions, items, named)


def check_folder(folder: Path) -> None:
    """Raises DataError where the folder is missing, a link to nowhere, or no folder."""
    if folder.is_dir():
        return
    if folder.is_symlink() and not folder.exists():
        raise DataError(f"{folder} links to {folder.readlink()}, which does not exist")
    found = "is not a folder" if folder.exists() else "does not exist"
    raise DataError(f"{folder} {found}; `mmesid add {folder.name} --files PATH` links a folder of yours there")


def read_interactions(folder: Path) -> pd.DataFrame:
    """Interactions in the order of the file, columns as in `Catalogue`."""
    path = find_table(folder, "interactions", ("parquet", "csv"))
    table = read_table(path, INTERACTIONS)
    frame = pd.DataFrame(
        {
            "user_id": as_text(table["user_id"]),
            "item_id": as_text(table["item_id"]),
            "timestamp": as_seconds(table["timestamp"], path),
        }
    )
    return _with_origin(frame, path)


def read_items(folder: Path) -> pd.DataFrame:
    """Items in the order of the file, columns as in `Catalogue`; the pictures themselves are still absent."""
    path = find_table(folder, "items", ("parquet", "csv", "jsonl"))
    table = read_table(path, ("item_id",))
    taken = [column for column in RESERVED if column in table.columns]
    if taken:
        raise DataError(f"{path} has a column {', '.join(taken)}, a name that is needed for something else; rename it")
    frame = pd.DataFrame({"item_id": as_text(table["item_id"])})
    for column in ("title", *(name for name in table.columns if name not in ("item_id", "title", "image"))):
        frame[column] = as_text(table[column]) if column in table.columns else pd.Series(None, frame.index, "str")
    frame["image"] = pd.Series(None, frame.index, object)
    frame["image_name"] = as_text(table["image"]) if "image" in table.columns else pd.Series(None, frame.index, "str")
    return _with_origin(frame, path)


def _with_origin(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    frame = frame.reset_index(drop=True)
    return frame.assign(file=pd.Series(path.name, frame.index, "str"), row=np.arange(1, len(frame) + 1, dtype=np.int64))
