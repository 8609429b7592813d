"""Training curves of a stage: its losses and validation metrics by step."""

from mmesid.artifacts.files import load_json, save_json
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Curves

NAME = "curves.json"


def save_curves(store: Store, stage: str, curves: Curves) -> None:
    """Write them into the stage's folder."""
    save_json(store.folder(stage) / NAME, curves)


def load_curves(store: Store, stage: str) -> Curves:
    """Training curves of a stage, empty where it has none."""
    path = store.folder(stage) / NAME
    return list(load_json(path)) if path.exists() else []
