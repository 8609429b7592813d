"""Batch scoring: which version a file names."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows import recommend as batch
from mmesid import registry
from mmesid.artifacts.values import Sequences
from mmesid.serving import Answer, Recommended


class Service:
    """Recommends one item, named after its version."""

    def __init__(self, version: str) -> None:
        self._version = version

    def recommend(self, histories: list[list[str]], k: int) -> list[Answer]:
        return [Answer([Recommended(f"of version {self._version}", "", 1.0)], "") for _ in histories]


@pytest.fixture
def promoted_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the alias finds another champion, and nothing needs Prefect's server."""
    versions = iter(("1", "2", "3"))

    def version_of(mlflow: Any, dataset: str, alias: str) -> Any:
        return SimpleNamespace(name=f"mme-sid-{dataset}", version=next(versions))

    monkeypatch.setattr(registry, "version_of", version_of)
    monkeypatch.setattr("mmesid.registry.versions.version_of", version_of)
    monkeypatch.setattr(registry, "load_version", lambda version: Service(version.version))
    monkeypatch.setattr("mmesid.registry.versions.load_version", lambda version, device: Service(version.version))
    monkeypatch.setattr("mmesid.tracking.client", lambda root: None)
    for name in ("progress_bar", "update_progress_artifact", "create_markdown_artifact"):
        monkeypatch.setattr(batch, name, lambda *given, **named: None)
    monkeypatch.setattr(batch, "get_run_logger", lambda: SimpleNamespace(info=print))


@pytest.mark.usefixtures("promoted_meanwhile")
def test_a_promotion_in_between_does_not_mislabel_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = Sequences(["me", "you"], [np.array([1, 2]), np.array([3])], 3)
    monkeypatch.setattr(batch, "load_sequences", lambda store: sequences)
    monkeypatch.setattr(batch, "load_items", lambda store: pd.DataFrame({"item_id": ["a", "b", "c"]}))
    table = pd.read_parquet(batch.recommend.fn("toys", 1, tmp_path))
    assert set(table["model"]) == {"mme-sid-toys/1"}
    assert set(table["item_id"]) == {"of version 1"}
