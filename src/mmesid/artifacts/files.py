"""Files that are whole or absent: written beside and renamed. Safetensors, Parquet and JSON, never pickles."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmesid.errors import ArtifactError, first_line

if TYPE_CHECKING:
    import torch


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then rename it onto `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def save_json(path: Path, value: object) -> None:
    """JSON with sorted keys, so that equal values are equal files."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def load_json(path: Path) -> Any:
    """Raises ArtifactError where the file is missing or damaged."""
    with _whole(path):
        return json.loads(path.read_text(encoding="utf-8"))


def save_frame(path: Path, frame: pd.DataFrame) -> None:
    """Parquet, zstd, no index."""
    write_atomically(path, lambda beside: frame.to_parquet(beside, index=False, compression="zstd"))


def load_frame(path: Path) -> pd.DataFrame:
    """Raises ArtifactError where the file is missing or damaged."""
    with _whole(path):
        return pd.read_parquet(path)


def count_rows(path: Path) -> int:
    """Rows of a Parquet file, read from its footer; raises ArtifactError where the file is missing or
    damaged.
    """
    from pyarrow import parquet

    with _whole(path):
        return int(parquet.read_metadata(path).num_rows)


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """NumPy arrays as safetensors."""
    from safetensors.numpy import save_file

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomically(path, lambda beside: save_file(contiguous, beside))


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Raises ArtifactError where the file is missing or damaged."""
    from safetensors.numpy import load_file

    with _whole(path):
        return dict(load_file(path))


def save_tensors(path: Path, tensors: "Mapping[str, torch.Tensor]", note: dict[str, Any] | None = None) -> None:
    """Torch tensors as safetensors, on the CPU; `note` is JSON kept in the same file."""
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"note": json.dumps(note)} if note is not None else None
    write_atomically(path, lambda beside: save_file(plain, beside, metadata=metadata))


def load_tensors(path: Path) -> "dict[str, torch.Tensor]":
    """Raises ArtifactError where the file is missing or damaged."""
    from safetensors.torch import load_file

    with _whole(path):
        return dict(load_file(path))


def is_whole(path: Path) -> bool:
    """Whether a file of safetensors is there and as long as its header says: a power cut may leave less of it."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np"):
            return True
    except (FileNotFoundError, SafetensorError):
        return False


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Read a file that must be there: one that is damaged, by a full disk or half a copy, is named."""
    from safetensors import SafetensorError

    if not path.exists():
        raise ArtifactError(f"{path} is missing; `dvc repro` makes it")
    try:
        yield
    except (ValueError, OSError, SafetensorError) as error:  # pyarrow's errors are one of the first two
        if isinstance(error, OSError) and error.errno:  # the machine's, not the file's
            raise
        line = first_line(error)
        raise ArtifactError(f"{path} is damaged ({line}): delete it and run `dvc repro`, which makes it") from None
