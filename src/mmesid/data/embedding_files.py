"""Precomputed embeddings of a catalogue: `embeddings/<modality>_<name>.npz` with `item_id` and `embedding`."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.values import CONTENT, MODALITIES, RawEmbedding
from mmesid.data.ids import canonical_array
from mmesid.data.picture_names import is_noise
from mmesid.errors import DataError

FOLDER = "embeddings"
LEAST_SPREAD, MOST_SPREAD = 1e-5, 1e15  # of values that 32-bit floats square and divide without harm
LEAST_SHARE = 1e-4  # of the vectors' size that they must differ by: below, 32-bit floats hold noise
FAR = 30  # times that vectors may be larger than they differ: beyond it their cosines are all above .998
CHUNK = 65_536  # rows held in double precision at a time
EMBED = "embed"  # in the names of others' files
ALIASES = {  # of modalities, in others' file names
    **dict.fromkeys(("vision", "visual", "img", "images", "picture", "pictures", "photo", "pixel"), "image"),
    **dict.fromkeys(("txt", "texts", "textual", "title", "titles", "language"), "text"),
    **dict.fromkeys(("cf", "collab", "sasrec", "id", "ids"), "collaborative"),
}


def list_embeddings(folder: Path) -> dict[tuple[str, str], Path]:
    """The embedding files of a source, by modality and name."""
    found = {}
    for path in sorted((folder / FOLDER).glob("*.npz")):
        modality, _, name = path.stem.partition("_")
        if modality in MODALITIES and name:
            found[modality, name] = path
    return found


def unused_files(folder: Path) -> list[tuple[Path, str]]:
    """The files that cannot be used as embeddings under their name, each with what would make it usable."""
    inside = [path for path in sorted((folder / FOLDER).glob("*")) if not is_noise(path.name)]
    beside = [path for path in sorted(folder.glob("*.np[yz]")) if not is_noise(path.name)]
    usable = set(list_embeddings(folder).values())
    return [(path, _why_unused(path)) for path in inside if path not in usable] + [
        (path, f"it lies beside {FOLDER}/; move it there as {_right_name(path.stem)}") for path in beside
    ]


def why_no_table(path: Path) -> str | None:
    """What would make an embedding of a file beside the tables, None where its name speaks of none."""
    if EMBED not in path.name.lower() or not path.is_file():
        return None
    name = _right_name(path.stem)
    return f"embeddings lie in {FOLDER}/; save it there with np.savez as {name}, with the arrays item_id and embedding"


def _why_unused(path: Path) -> str:
    if path.is_dir():
        return f"it is a folder; files lie in {FOLDER}/ itself"
    name = _right_name(path.stem)
    if path.suffix != ".npz":
        return f"it is no .npz file; save it with np.savez as {name}, with the arrays item_id and embedding"
    return f"its name does not begin with a modality and `_`; rename it to {name}"


def _right_name(stem: str) -> str:
    """The name under which a file would be found, its modality guessed from the name."""
    first, _, rest = stem.replace("-", "_").replace(".", "_").replace(" ", "_").strip("_").partition("_")
    modality = ALIASES.get(first.casefold(), first.casefold())
    if modality in MODALITIES:
        return f"{modality}_{rest or 'own'}.npz"
    return " or ".join(f"{modality}_{stem}.npz" for modality in CONTENT)


def find_embedding(folder: Path, modality: str, name: str) -> Path:
    """The file of the embedding that `ingest.embeddings` names.

    Raises:
        DataError: there is none; lists those that exist, and why others cannot be used.
    """
    path = folder / FOLDER / f"{modality}_{name}.npz"
    if not path.is_file():
        present = ", ".join(f"{{{found}: {label}}}" for found, label in list_embeddings(folder)) or "none"
        others = "".join(f"; {other.name} is not: {why}" for other, why in unused_files(folder))
        raise DataError(
            f"ingest.embeddings names {{{modality}: {name}}}, but {path} does not exist; usable are: {present}{others}"
        )
    return path


def read_embedding(path: Path) -> RawEmbedding:
    """Read one file; rows that match no item and values that are not finite are left to `validate`.

    Raises:
        DataError: not an .npz of plain arrays, an array is missing, shapes do not fit, an item appears twice, or the
            vectors say nothing that 32-bit floats can tell apart.
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
    try:
        ids = canonical_array(item_ids).astype(str)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: item_id {error.object!r} is not UTF-8 text; store item_id as text") from None
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"{path}: item_id {str(values[counts.argmax()])!r} appears {counts.max()} times, expected once")
    embedding = RawEmbedding(ids.astype(object), _single(path, matrix))
    if fault := _indistinct(embedding):
        raise DataError(f"{path}: {fault}")
    return embedding


def _check(path: Path, item_ids: NDArray[Any], matrix: NDArray[Any]) -> None:
    if item_ids.dtype.kind == "f" and item_ids.ndim == 1 and (lost := np.isnan(item_ids)).any():
        raise DataError(
            f"{path}: item_id holds NaN, which is no item: {lost.sum():,} of {len(item_ids):,}, the first in row "
            f"{lost.argmax() + 1}; leave out these rows, and their vectors"
        )
    whole = item_ids.dtype.kind == "f" and bool((item_ids % 1 == 0).all())
    if item_ids.ndim != 1 or not (whole or item_ids.dtype.kind in "USiu"):
        raise DataError(f"{path}: item_id must be (items,) text, it is {item_ids.shape} {item_ids.dtype}")
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or not matrix.size:
        raise DataError(f"{path}: embedding must be (items, width) numbers, it is {matrix.shape} {matrix.dtype}")
    if len(item_ids) != len(matrix):
        raise DataError(f"{path}: item_id has {len(item_ids):,} entries, but embedding has {len(matrix):,} rows")


def _single(path: Path, matrix: NDArray[Any]) -> NDArray[np.float32]:
    """The vectors as 32-bit floats; raises DataError where a number is too large for them."""
    with np.errstate(over="ignore"):
        single = matrix.astype(np.float32)
    beyond = np.isfinite(matrix) & ~np.isfinite(single)
    if beyond.any():
        row, column = np.argwhere(beyond)[0]
        raise DataError(
            f"{path}, row {row + 1}: embedding holds {matrix[row, column]:.3g}, and 32-bit floats end at 3.4e+38; "
            "scale the vectors down"
        )
    return single


def far_from_zero(shown: str, embedding: RawEmbedding) -> list[str]:
    """A sentence where vectors differ by so little of their size that angles, by which items are compared, hardly do.

    Args:
        shown: name of the file, for the message.
        embedding: as `read_embedding` gives it.
    """
    count, size, spread = _measure(embedding)
    if count < 2 or size < FAR * spread:
        return []
    return [
        f"{shown}: its vectors lie {size / spread:,.0f} times as far from zero as they differ (values are about "
        f"{size:.2g} in size and differ by {spread:.2g} from their mean), so that by angle all items look alike; "
        "subtract the mean before it is saved"
    ]


def _measure(embedding: RawEmbedding) -> tuple[int, float, float]:
    """How many vectors there are, the size of their values, and by how much these differ from their mean."""
    matrix = embedding.matrix
    count, total, squares = 0, np.zeros(matrix.shape[1]), 0.0
    for start in range(0, len(matrix), CHUNK):
        part = matrix[start : start + CHUNK].astype(np.float64)
        part = part[np.isfinite(part).all(axis=1) & (part != 0).any(axis=1)]
        count, total, squares = count + len(part), total + part.sum(axis=0), squares + float(np.square(part).sum())
    size = (squares / (max(1, count) * matrix.shape[1])) ** 0.5
    return count, size, max(0.0, size**2 - float(np.square(total / max(1, count)).mean())) ** 0.5


def _indistinct(embedding: RawEmbedding) -> str | None:
    """Why the vectors cannot be told apart, None where they can; those that are not finite are left to `validate`."""
    count, size, spread = _measure(embedding)
    if count < 2:  # one alone has nothing to be told apart from
        return None if embedding.present().any() else "all its vectors are zeros, which stand for missing ones"
    if spread < LEAST_SHARE * size:
        return (
            f"all its vectors are the same, or nearly: values differ by {spread:.2g} from their mean, and are about "
            f"{size:.2g} in size; leave it out, or subtract the mean before it is saved"
        )
    if not LEAST_SPREAD < spread < MOST_SPREAD:
        return f"its values differ by {spread:.2g} from their mean, expected about 1; scale the vectors"
    return None
