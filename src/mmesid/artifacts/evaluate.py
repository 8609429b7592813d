"""Output of `evaluate`: ranks of every user by every model, metrics, the singular spectrum, examples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mmesid.artifacts.files import load_frame, load_json, save_frame, save_json
from mmesid.artifacts.store import Store
from mmesid.errors import ArtifactError

_FOLDER = "evaluate"
_METRICS = "metrics.json"


def save_ranks(store: Store, ranks: pd.DataFrame) -> Path:
    """Rank of each user's target: user int64 (position in sequences), split, model, rank int64 (1 is best)."""
    path = store.folder(_FOLDER) / "ranks.parquet"
    save_frame(path, ranks)
    return path


def load_ranks(store: Store) -> pd.DataFrame:
    """Ranks by every model."""
    return load_frame(store.folder(_FOLDER) / "ranks.parquet")


def save_metrics(store: Store, metrics: Mapping[str, Any]) -> Path:
    """The public contract, beside the other results and in `reports/<dataset>/`, which is in git."""
    save_json(store.report() / _METRICS, metrics)
    path = store.folder(_FOLDER) / _METRICS
    save_json(path, metrics)
    return path


def load_metrics(store: Store) -> dict[str, Any]:
    """The metrics of the last evaluation; raises ArtifactError where there is none."""
    return dict(load_json(store.folder(_FOLDER) / _METRICS))


def has_metrics(store: Store) -> bool:
    """Whether the dataset has been evaluated."""
    return (store.folder(_FOLDER) / _METRICS).exists()


def reported_metrics(root: Path = Path()) -> dict[str, dict[str, Any]]:
    """Every `reports/<dataset>/metrics.json` of a project by dataset, in the order of their names.

    Raises:
        ArtifactError: one is damaged.
    """
    return {path.parent.name: _mapping(path) for path in sorted((root / "reports").glob(f"*/{_METRICS}"))}


def _mapping(path: Path) -> dict[str, Any]:
    found = load_json(path)
    if not isinstance(found, dict):
        raise ArtifactError(f"{path} is damaged: it holds a {type(found).__name__}, not metrics by name")
    return found


def save_spectra(store: Store, spectra: Mapping[str, list[float]]) -> Path:
    """Singular values of item vectors over the largest, by name."""
    path = store.folder(_FOLDER) / "spectrum.json"
    save_json(path, spectra)
    return path


def load_spectra(store: Store) -> dict[str, list[float]]:
    """As `save_spectra` took them, empty where there are none."""
    path = store.folder(_FOLDER) / "spectrum.json"
    return dict(load_json(path)) if path.exists() else {}


def save_examples(store: Store, examples: list[dict[str, Any]]) -> None:
    """A few users' histories, targets and recommendations, as item ids."""
    save_json(store.folder(_FOLDER) / "examples.json", examples)


def load_examples(store: Store) -> list[dict[str, Any]]:
    """As `save_examples` took them, empty where there are none."""
    path = store.folder(_FOLDER) / "examples.json"
    return list(load_json(path)) if path.exists() else []
