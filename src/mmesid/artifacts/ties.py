"""Beside the output of `prepare`, in a file of its own: how much of the order of its sequences the source left open."""

from pathlib import Path

from mmesid.artifacts.files import load_json, save_json
from mmesid.artifacts.store import Store


def save_tied_share(store: Store, share: float) -> None:
    """Write the share of interactions that share user and time with another one."""
    save_json(_beside(store.folder("prepare")), {"tied": share})


def load_tied_share(store: Store) -> float:
    """As `save_tied_share` took it."""
    return float(load_json(_beside(store.folder("prepare")))["tied"])


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")
