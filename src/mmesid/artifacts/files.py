"""Files that are whole or absent: written beside and renamed. Safetensors, Parquet and JSON, never pickles."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmesid.errors import ArtifactError

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
    try:
        return json.loads(_existing(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged ({error}); delete it and run `dvc repro`") from None


def save_frame(path: Path, frame: pd.DataFrame) -> None:
    """Parquet, zstd, no index."""
    write_atomically(path, lambda beside: frame.to_parquet(beside, index=False, compression="zstd"))


def load_frame(path: Path) -> pd.DataFrame:
    """Raises ArtifactError where the file is missing."""
    return pd.read_parquet(_existing(path))


def count_rows(path: Path) -> int:
    """Rows of a Parquet file, read from its footer; raises ArtifactError where the file is missing."""
    from pyarrow import parquet

    return int(parquet.read_metadata(_existing(path)).num_rows)


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """NumPy arrays as safetensors."""
    from safetensors.numpy import save_file

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomically(path, lambda beside: save_file(contiguous, beside))


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Raises ArtifactError where the file is missing."""
    from safetensors.numpy import load_file

    return dict(load_file(_existing(path)))


def save_tensors(path: Path, tensors: "Mapping[str, torch.Tensor]", note: dict[str, Any] | None = None) -> None:
    """Torch tensors as safetensors, on the CPU; `note` is JSON kept in the same file."""
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"note": json.dumps(note)} if note is not None else None
    write_atomically(path, lambda beside: save_file(plain, beside, metadata=metadata))


def load_tensors(path: Path) -> "dict[str, torch.Tensor]":
    """Raises ArtifactError where the file is missing."""
    from safetensors.torch import load_file

    return dict(load_file(_existing(path)))


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ArtifactError(f"{path} is missing; `dvc repro` makes it")
    return path
