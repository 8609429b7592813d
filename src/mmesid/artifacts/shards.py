"""Beside the output of `encode_content`: which models made it, and what a killed encoding had finished."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mmesid.artifacts.files import is_whole, load_arrays, save_arrays, save_json
from mmesid.artifacts.store import Store

_FOLDER = "content_shards"


class Shards:
    """Numbered parts of a long matrix, kept until the whole is saved.

    They belong to a key, which stands for all that decides their content; parts of another key go.
    """

    def __init__(self, folder: Path, fingerprint: str = "") -> None:
        """
        Args:
            folder: for the parts alone.
            fingerprint: of what decides the content beside the keys, such as the code; part of every key.
        """
        self.folder = folder
        self.fingerprint = fingerprint

    def begin(self, key: str) -> None:
        """Keep the parts of this key only."""
        for other in self.folder.glob("*"):
            if other.name != key:
                shutil.rmtree(other)

    def has(self, key: str, number: int) -> bool:
        """Whether a part is finished, and whole."""
        return is_whole(self._path(key, number))

    def load(self, key: str, number: int) -> NDArray[Any] | None:
        """A part, None where it was not finished."""
        path = self._path(key, number)
        return load_arrays(path)["rows"] if path.exists() else None

    def save(self, key: str, number: int, rows: NDArray[Any]) -> None:
        """A part, whole or absent."""
        save_arrays(self._path(key, number), {"rows": rows})

    def drop(self) -> None:
        """The whole is saved: what would resume it goes."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def of(self, modality: str) -> "Shards":
        """Those of one modality, in a folder of their own."""
        return Shards(self.folder / modality, self.fingerprint)

    def _path(self, key: str, number: int) -> Path:
        return self.folder / key / f"{number:06d}.safetensors"


def content_shards(store: Store, fingerprint: str) -> Shards:
    """Of both modalities, beside the stages' folders: DVC deletes a stage's own before it runs."""
    return Shards(store.root / "data" / store.dataset / _FOLDER, fingerprint)


def save_models(store: Store, models: Mapping[str, Mapping[str, object]]) -> None:
    """Which pretrained model made which embedding, with its revision; nothing where none did."""
    if models:
        save_json(store.folder("encode_content") / "models.json", models)
