"""Output of `fuse`: the weights of late fusion, the transition memory and the content tables."""

from pathlib import Path
from typing import Any

import numpy as np

from mmesid.artifacts.files import load_arrays, load_json, save_arrays, save_json
from mmesid.artifacts.values import Fusion, FusionRule, FusionTables, FusionWeights, Transitions
from mmesid.errors import ArtifactError

WEIGHTS, _MEMORY, _CONTENT = "weights.json", "transitions.safetensors", "content.safetensors"


def save_fusion(folder: Path, fusion: Fusion) -> Path:
    """Three files; the weights come last and are returned: where they are, the tables are."""
    memory = {**fusion.tables.transitions._asdict(), "frequency": fusion.tables.frequency}
    save_arrays(folder / _MEMORY, memory)
    save_arrays(folder / _CONTENT, fusion.tables.content)
    weights = {model: found._asdict() for model, found in fusion.weights.items()}
    note = {"rule": fusion.rule._asdict(), "bins": fusion.bins, "weights": weights}
    save_json(folder / WEIGHTS, note)
    return folder / WEIGHTS


def load_fusion(folder: Path) -> Fusion:
    """As `save_fusion` took it.

    Args:
        folder: of the stage `fuse`, or its copy in a bundle.

    Raises:
        ArtifactError: a file is missing, or the three do not fit together.
    """
    note, memory, content = load_json(folder / WEIGHTS), load_arrays(folder / _MEMORY), load_arrays(folder / _CONTENT)
    try:
        frequency = memory.pop("frequency")
        tables = FusionTables(frequency, Transitions(**memory), content)
        weights = {model: FusionWeights(**found) for model, found in note.pop("weights").items()}
        fusion = Fusion(tables, FusionRule(**note.pop("rule")), note.pop("bins"), weights)
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{folder} holds another form of fusion ({error}); `dvc repro` makes it anew") from None
    if faults := [*_faults(fusion), *(f"{key} is unknown" for key in note)]:
        raise ArtifactError(f"{folder} is damaged ({'; '.join(faults)}); delete it and run `dvc repro`")
    return fusion


def _faults(fusion: Fusion) -> list[str]:
    """What of the three files does not fit together."""
    tables, bins = fusion.tables, len(fusion.bins)
    starts, items, strengths = tables.transitions
    rows = len(tables.frequency)
    wrong = [name for name, matrix in tables.content.items() if len(matrix) != rows]
    if len(starts) != rows + 1 or starts[0] != 0 or (np.diff(starts) < 0).any():
        wrong.append("starts")
    if not len(items) == len(strengths) == starts[-1] or not _within(items, rows):
        wrong.append("transitions")
    faults = [f"{name} does not fit {rows - 1} items" for name in wrong]
    for model, (_, evidence) in fusion.weights.items():
        faults += [
            f"{model} has {len(w)} weights of {name} for {bins} bins" for name, w in evidence.items() if len(w) != bins
        ]
    return faults


def _within(items: Any, rows: int) -> bool:
    return not len(items) or bool(items.min() > 0 and items.max() < rows)
