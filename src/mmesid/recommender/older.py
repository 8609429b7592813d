"""Checkpoints of earlier releases, as today's modules take them: champions of before answer as they did."""

from collections.abc import Mapping

import torch
from torch import Tensor

RENAMED = {  # from before items were a module of their own
    "item_input.": "items.input.",
    "item_table": "items.table",
    "fusion.": "items.fusion.",
}
UNSCALED = {"items.input_scale": torch.ones(1), "items.score_scale": torch.ones(1)}  # of a table without scales
_NORM = ".adaptor.0.weight"  # of a tied modality that normed its embeddings in every step
_EPSILON = 1e-6  # of that norm


def todays(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same function as tensors of today's names and shapes; those of today pass unchanged.

    Args:
        weights: a recommender's tensors by name, the backbone's left out.
    """
    found = {_name(name): tensor for name, tensor in weights.items()}
    if "items.table" in found:
        found = {**UNSCALED, **found}
    for modality in [name.removesuffix(_NORM) for name in found if name.endswith(_NORM) and found[name].dim() == 1]:
        _fold_norm(found, modality)
    return found


def _name(name: str) -> str:
    for before, now in RENAMED.items():
        if name.startswith(before):
            return now + name[len(before) :]
    return name


def _fold_norm(weights: dict[str, Tensor], modality: str) -> None:
    """Linear(w * e / rms(e)) is Linear' of an embedding that was normed once, with w in its columns."""
    embedding, gain = weights[f"{modality}.embedding"], weights.pop(f"{modality}{_NORM}")
    size = (embedding.square().mean(dim=1, keepdim=True) + _EPSILON).sqrt()
    weights[f"{modality}.embedding"] = embedding / size
    for before, now in ((1, 0), (3, 2)):
        for part in ("weight", "bias"):
            weights[f"{modality}.adaptor.{now}.{part}"] = weights.pop(f"{modality}.adaptor.{before}.{part}")
    weights[f"{modality}.adaptor.0.weight"] = weights[f"{modality}.adaptor.0.weight"] * gain
