"""Training curves of a stage."""

from typing import TYPE_CHECKING

from mmesid.artifacts.files import (
    load_json,
    save_json,
)
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import (
    History,
)

if TYPE_CHECKING:
    pass


def save_history(store: Store, stage: str, history: History) -> None:
    """Training curves of a stage."""
    save_json(store.folder(stage) / "history.json", history)


def load_history(store: Store, stage: str) -> History:
    """Training curves of a stage, empty where it has none."""
    path = store.folder(stage) / "history.json"
    return list(load_json(path)) if path.exists() else []
