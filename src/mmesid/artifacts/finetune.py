"""Output of `init_codes` and `finetune`: a recommender, and where its training stands."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmesid.artifacts.files import is_whole, load_json, load_tensors, save_json, save_tensors
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Checkpoint

if TYPE_CHECKING:
    import torch


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """A recommender's own tensors and configuration; the backbone and the adapter lie beside them."""
    save_tensors(folder / "recommender.safetensors", checkpoint.weights)
    save_json(folder / "recommender.json", checkpoint.config)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Raises ArtifactError where a file is missing."""
    return Checkpoint(load_json(folder / "recommender.json"), load_tensors(folder / "recommender.safetensors"))


def save_trainer(store: Store, tensors: "Mapping[str, torch.Tensor]", note: dict[str, Any]) -> None:
    """Where fine-tuning stands, one file, so that it is whole or absent."""
    save_tensors(_trainer(store), tensors, note)


def load_trainer(store: Store, say: Callable[[str], object]) -> "tuple[dict[str, torch.Tensor], dict[str, Any]] | None":
    """What a killed fine-tuning left; None where there is nothing, or nothing whole, of which nothing can be taken.

    Args:
        store: where it lies.
        say: is told of a file that is not whole; the next checkpoint replaces it.
    """
    from safetensors import safe_open

    if not _trainer(store).exists():
        return None
    if not is_whole(_trainer(store)):
        say(f"{_trainer(store)} is cut short, as a power cut leaves it: fine-tuning starts over")
        return None
    with safe_open(_trainer(store), "pt") as file:
        note = json.loads(file.metadata()["note"])
    return load_tensors(_trainer(store)), note


def drop_trainer(store: Store) -> None:
    """Fine-tuning is done: what would resume it goes."""
    _trainer(store).unlink(missing_ok=True)


def _trainer(store: Store) -> Path:
    """Beside the stages' folders: DVC deletes a stage's own before it runs."""
    return store.root / "data" / store.dataset / "trainer.safetensors"
