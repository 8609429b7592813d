"""Precomputed embeddings of a catalogue: `embeddings/<modality>_<name>.npz` with `item_id` and `embedding`."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.values import MODALITIES, RawEmbedding
from mmesid.errors import DataError

FOLDER = "embeddings"


def list_embeddings(folder: Path) -> dict[tuple[str, str], Path]:
    """The embedding files of a source, by modality and name."""
    found = {}
    for path in sorted((folder / FOLDER).glob("*.npz")):
        modality, _, name = path.stem.partition("_")
        if modality in MODALITIES and name:
            found[modality, name] = path
    return found


def find_embedding(folder: Path, modality: str, name: str) -> Path:
    """The file of the embedding that `ingest.embeddings` names.

    Raises:
        DataError: there is none; lists those that exist.
    """
    path = folder / FOLDER / f"{modality}_{name}.npz"
    if not path.is_file():
        present = ", ".join(f"{{{found}: {label}}}" for found, label in list_embeddings(folder)) or "none"
        raise DataError(
            f"ingest.embeddings names {{{modality}: {name}}}, but {path} does not exist; usable are: {present}"
        )
    return path


def read_embedding(path: Path) -> RawEmbedding:
    """Read one file; rows that match no item and values that are not finite are left to `validate`.

    Raises:
        DataError: not an .npz of plain arrays, an array is missing, shapes do not fit, or an item appears twice.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in ("item_id", "embedding") if name not in arrays]
            if missing:
                present = ", ".join(arrays.files) or "none"
                raise DataError(f"{path} lacks the array {', '.join(missing)}; it has: {present}")
            item_ids, matrix = arrays["item_id"], arrays["embedding"]
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        hint = "; store item_id as text, not as Python objects" if "allow_pickle" in str(error) else ""
        raise DataError(f"{path} is not an .npz file of plain arrays ({error}){hint}") from None
    _check(path, item_ids, matrix)
    ids = np.char.decode(item_ids, "utf-8") if item_ids.dtype.kind == "S" else item_ids.astype(str)
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"{path}: item_id {str(values[counts.argmax()])!r} appears {counts.max()} times, expected once")
    return RawEmbedding(ids.astype(object), matrix.astype(np.float32))


def _check(path: Path, item_ids: NDArray[Any], matrix: NDArray[Any]) -> None:
    if item_ids.ndim != 1 or item_ids.dtype.kind not in "USiu":
        raise DataError(f"{path}: item_id must be (items,) text, it is {item_ids.shape} {item_ids.dtype}")
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or not matrix.size:
        raise DataError(f"{path}: embedding must be (items, width) numbers, it is {matrix.shape} {matrix.dtype}")
    if len(item_ids) != len(matrix):
        raise DataError(f"{path}: item_id has {len(item_ids):,} entries, but embedding has {len(matrix):,} rows")
