"""Matrices from pickles and .pt files of others: nothing that such a file may hold is executed.

A pickle is a program. Of it only what rebuilds arrays, tensors and plain containers is followed, by name; whatever else
it asks for is refused before it is called.
"""

import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mmesid.artifacts.hub import POINTER
from mmesid.errors import DataError, first_line

PICKLES, TENSORS = (".pkl", ".pickle"), (".pt", ".pth")
ITEM_WEIGHTS = ("item_emb.weight", "item_embedding.weight", "item_embeddings.weight")  # of a SASRec's state dict
SAVED = (b"PK\3\4", b"\x80\2\x8a\nl\xfc\x9c")  # what torch.save begins with, today and formerly
DTYPES = [type(np.dtype(code)) for code in "?bBhHiIlLqQefd"]
_GLOBAL = re.compile(r"(?:GLOBAL|class|function) `?([\w.]+)")


class Rows(NamedTuple):
    """Vectors in the order of their numbers."""

    matrix: NDArray[np.float32]  # (rows, width)
    first: int | None  # number of the first, 0 or 1; None where the file does not number them


def read_rows(path: Path) -> Rows:
    """The matrix of a pickle or .pt file.

    It may be a tensor, an array, a state dict with an item embedding, a mapping from row numbers to vectors, or a list
    of vectors.

    Raises:
        DataError: the file holds something else, asks for what is neither array nor tensor, or is damaged.
    """
    with path.open("rb") as file:
        beginning = file.read(40)
    if beginning.startswith(POINTER):
        raise DataError(f"{path} is a pointer of Git LFS, not the file that it stands for: fetch that (`git lfs pull`)")
    read = _read_tensors if beginning.startswith(SAVED) else _read_pickle  # whatever the name says
    found, first = read(path), None
    if isinstance(found, Mapping):
        found, first = _of_mapping(path, found)
    return Rows(_matrix(path, found), first)


def _read_pickle(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _Unpickler(file, path).load()
    except DataError:
        raise
    except Exception as error:  # whatever a damaged program leads to
        raise DataError(f"{path} is damaged, or no pickle of arrays or tensors ({first_line(error)})") from None


def _read_tensors(path: Path) -> Any:
    arrays = [(call, ".".join(name)) for name, call in _allowed().items() if name[0].startswith(("numpy", "_codecs"))]
    try:
        with torch.serialization.safe_globals([*arrays, *DTYPES]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        asked = _GLOBAL.search(str(error))
        if asked is not None:
            raise _refused(path, asked[1]) from None
        reason = str(error).rpartition("WeightsUnpickler error: ")[2]  # before it stands advice to execute the file
        raise DataError(f"{path} is damaged, or no file of tensors or arrays ({first_line(reason)})") from None


def _refused(path: Path, name: str) -> DataError:
    return DataError(
        f"{path} asks for {name}, which is neither array nor tensor, so it is not read: opening it could run code; "
        "save the matrix alone, by torch.save(tensor), or as embeddings/<modality>_<name>.npz"
    )


def _storage(content: bytes) -> Any:
    """What a tensor in a plain pickle keeps its numbers in; it comes as a file of its own, read as strictly."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _encode(text: str, encoding: str) -> bytes:
    """Bytes of an array, as old pickles spell them."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes spelled in {encoding}")
    return text.encode("latin1")


def _allowed() -> dict[tuple[str, str], Callable[..., Any]]:
    """Name -> what is called in its place."""
    multiarray, numeric = (import_module(f"numpy._core.{name}") for name in ("multiarray", "numeric"))
    found: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
        ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
        ("torch.storage", "_load_from_bytes"): _storage,
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _encode,
    }
    for core in ("core", "_core"):  # numpy 1 and 2
        found["numpy." + core + ".multiarray", "_reconstruct"] = multiarray._reconstruct
        found["numpy." + core + ".numeric", "_frombuffer"] = numeric._frombuffer
    return found


class _Unpickler(pickle.Unpickler):
    """Follows nothing but ALLOWED."""

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file)
        self.path, self.allowed = path, _allowed()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise _refused(self.path, f"{module}.{name}")
        return self.allowed[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise _refused(self.path, "an object outside of it")


def _matrix(path: Path, found: Any) -> NDArray[np.float32]:
    """What was read as rows."""
    if isinstance(found, list | tuple) and found:
        try:
            found = np.stack([_array(path, row) for row in found])
        except (TypeError, ValueError):
            raise DataError(f"{path} holds a list whose members are no vectors of one width") from None
    if not isinstance(found, torch.Tensor | np.ndarray):
        raise DataError(f"{path} holds {type(found).__name__}, expected a matrix of (items, width) numbers")
    matrix = _array(path, found)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or not matrix.size:
        raise DataError(f"{path} holds {matrix.shape} {matrix.dtype}, expected a matrix of (items, width) numbers")
    return matrix.astype(np.float32)


def _of_mapping(path: Path, found: Mapping[Any, Any]) -> tuple[Any, int | None]:
    """A state dict's item embedding; or vectors in the order of their numbers, without a gap, and the first number."""
    for name in ITEM_WEIGHTS:
        if name in found:
            return found[name], None
    keys = list(found)
    if len(keys) == 1 and isinstance(found[keys[0]], torch.Tensor | np.ndarray):
        return found[keys[0]], None
    if not keys or not all(isinstance(key, int) for key in keys):
        shown = ", ".join(map(str, keys[:6])) or "nothing"
        raise DataError(f"{path} holds {shown}; expected one matrix, or {', '.join(ITEM_WEIGHTS)}")
    if sorted(keys) not in (list(range(len(keys))), list(range(1, len(keys) + 1))):
        raise DataError(f"{path} has vectors for {len(keys):,} numbers with gaps between {min(keys)} and {max(keys)}")
    return [found[key] for key in sorted(keys)], min(keys)


def _array(path: Path, value: Any) -> NDArray[Any]:
    """A tensor or array as an array; bfloat16, which numpy lacks, becomes float32."""
    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            kind = "quantized" if value.is_quantized else "meta" if value.is_meta else "sparse"
            raise DataError(f"{path} holds a {kind} tensor, expected plain numbers: save it dense, as float32")
        value = value.detach()
        return np.asarray(value.float() if value.is_floating_point() else value)
    return np.asarray(value)
