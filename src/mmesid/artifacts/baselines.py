"""Output of `baselines`: which rivals the dataset has, and the weights and training curves of each."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mmesid.artifacts.curves import save_curves
from mmesid.artifacts.files import load_json, load_tensors, save_json, save_tensors
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Curves

if TYPE_CHECKING:
    import torch

STAGE = "baselines"
_LIST, _WEIGHTS = "rivals.json", "weights.safetensors"


def curves_of(rival: str) -> str:
    """Where a rival's training curves lie, as `artifacts.curves` takes a stage."""
    return f"{STAGE}/{rival}"


def save_rival(store: Store, rival: str, weights: "Mapping[str, torch.Tensor]", curves: Curves) -> None:
    """One that was trained, into a folder of its own."""
    save_tensors(store.folder(STAGE) / rival / _WEIGHTS, weights)
    save_curves(store, curves_of(rival), curves)


def load_rival(store: Store, rival: str) -> "dict[str, torch.Tensor]":
    """Weights as `save_rival` took them; raises ArtifactError where there are none."""
    return load_tensors(store.folder(STAGE) / rival / _WEIGHTS)


def save_rivals(store: Store, rivals: Sequence[str]) -> None:
    """Which there are, also where there is none; it comes last: whoever is named is there."""
    save_json(store.folder(STAGE) / _LIST, list(rivals))


def load_rivals(store: Store) -> list[str]:
    """As `save_rivals` took them; raises ArtifactError where the stage has not run."""
    return list(load_json(store.folder(STAGE) / _LIST))
