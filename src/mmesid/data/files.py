"""The source `files`: your own catalogue, a folder of two tables with optional pictures and precomputed embeddings.

    interactions.{parquet,csv}         user_id, item_id, timestamp; further columns are ignored
    items.{parquet,csv,jsonl}          item_id, any text columns, `image` = name of the picture's file
    images/ or images.zip              optional; without a column `image` a picture is named after its item_id
    embeddings/<modality>_<name>.npz   optional; item_id (n,), embedding (n, D)

Nothing is filtered here: `validate` judges, and can say where each row came from by `file` and `row`. `row` counts data
rows from 1, as a person would: the row after a CSV's header is 1, and blank lines are not counted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmesid.artifacts.values import Catalogue
from mmesid.data import texts
from mmesid.data.embedding_files import find_embedding, read_embedding
from mmesid.data.item_ids import canonical
from mmesid.data.picture_names import find
from mmesid.data.pictures import list_pictures, read_pictures
from mmesid.data.tables import as_seconds, as_text, find_table, read_table
from mmesid.errors import DataError

INTERACTIONS = ("user_id", "item_id", "timestamp")
RESERVED = ("image_name", "image_fault", "file", "row")


def read(folder: Path, embeddings: dict[str, str], text: Sequence[str] | None = None) -> Catalogue:
    """Read a folder.

    Args:
        folder: the dataset's folder in `sources/`, or what a link there points to.
        embeddings: names of the precomputed embeddings to read, by modality.
        text: the items table's text columns, in their order; None chooses them by rule.

    Raises:
        DataError: something is missing or is not what its name says.
    """
    check_folder(folder)
    interactions = read_interactions(folder)
    items = with_pictures(folder, read_items(folder, text))
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
            "user_id": as_ids(table["user_id"]),
            "item_id": as_ids(table["item_id"]),
            "timestamp": as_seconds(table["timestamp"], path),
        }
    )
    return _with_origin(frame, path)


def read_items(folder: Path, text: Sequence[str] | None = None) -> pd.DataFrame:
    """Items in the order of the file, columns as in `Catalogue`; the pictures themselves are still absent."""
    path, table = items_table(folder)
    return canonical_items(path, table, choose_text(table, text))


def items_table(folder: Path) -> tuple[Path, pd.DataFrame]:
    """The items table as its file holds it, and the file."""
    path = find_table(folder, "items", ("parquet", "csv", "jsonl"))
    return path, read_table(path, ("item_id",))


def choose_text(table: pd.DataFrame, text: Sequence[str] | None) -> texts.Choice:
    """The text columns of an items table."""
    return texts.choose(table, text, passed_over=("item_id", "image"))


def canonical_items(path: Path, table: pd.DataFrame, choice: texts.Choice) -> pd.DataFrame:
    """The items table with the chosen text columns alone.

    Raises:
        DataError: a text column has a name that is needed for something else.
    """
    taken = [column for column in RESERVED if column in choice.columns]
    if taken:
        raise DataError(f"{path} has a column {', '.join(taken)}, a name that is needed for something else; rename it")
    frame = pd.DataFrame({"item_id": as_ids(table["item_id"])})
    for column in choice.columns:
        frame[column] = texts.readable(table[column])
    frame["image"] = pd.Series(None, frame.index, object)
    frame["image_name"] = as_text(table["image"]) if "image" in table.columns else pd.Series(None, frame.index, "str")
    return _with_origin(frame, path)


def with_pictures(folder: Path, items: pd.DataFrame) -> pd.DataFrame:
    """The items with the pictures that were found, and a column `image_fault` where one that is named was not."""
    found = find(items["image_name"].tolist(), items["item_id"].tolist(), list_pictures(folder))
    places = [one.place for one in found]
    items["image"] = pd.Series(read_pictures(folder, places), items.index, dtype=object)
    items["image_name"] = items["image_name"].fillna(pd.Series(places, items.index, "str"))
    if any(one.fault for one in found):
        faults = pd.Series([one.fault for one in found], items.index, "str")
        items["image_fault"] = faults
        items["image_name"] = items["image_name"].mask(faults.notna() & items["image_name"].isna(), items["item_id"])
    return items


def as_ids(column: "pd.Series[Any]") -> "pd.Series[str]":
    """Ids as text in their one form; null stays null."""
    text = as_text(column)
    codes, written = pd.factorize(text)
    ids = np.array([*(canonical(str(one)) for one in written), None], dtype=object)
    return pd.Series(ids[codes], column.index, dtype="str")


def _with_origin(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    frame = frame.reset_index(drop=True)
    return frame.assign(file=pd.Series(path.name, frame.index, "str"), row=np.arange(1, len(frame) + 1, dtype=np.int64))
