"""Output of `tokenize`: semantic IDs, codebooks, diagnostics."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mmesid.artifacts.files import load_arrays, load_json, save_arrays, save_json
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import MODALITIES, SemanticIds


def save_semantic_ids(store: Store, ids: SemanticIds) -> None:
    """Codes, codebooks and masks, by modality."""
    arrays: dict[str, NDArray[Any]] = {}
    for modality in ids.codes:
        arrays[f"{modality}.codes"] = ids.codes[modality]
        arrays[f"{modality}.codebooks"] = ids.codebooks[modality]
        arrays[f"{modality}.present"] = ids.present[modality]
    save_arrays(store.folder("tokenize") / "semantic_ids.safetensors", arrays)


def load_semantic_ids(store: Store) -> SemanticIds:
    """Input of `init_codes` and `evaluate`."""
    arrays = load_arrays(store.folder("tokenize") / "semantic_ids.safetensors")
    modalities = [modality for modality in MODALITIES if f"{modality}.codes" in arrays]
    codes, codebooks, present = (
        {modality: arrays[f"{modality}.{part}"] for modality in modalities}
        for part in ("codes", "codebooks", "present")
    )
    return SemanticIds(codes, codebooks, present)


def save_diagnostics(store: Store, diagnostics: Mapping[str, Any]) -> Path:
    """What the codes are like, by modality."""
    path = store.folder("tokenize") / "diagnostics.json"
    save_json(path, diagnostics)
    return path


def load_diagnostics(store: Store) -> dict[str, Any]:
    """As `save_diagnostics` took them."""
    return dict(load_json(store.folder("tokenize") / "diagnostics.json"))
