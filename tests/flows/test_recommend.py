"""Batch scoring: which version a file names, and who is left out."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows import recommend as batch
from mmesid import registry
from mmesid.artifacts.values import Sequences
from mmesid.errors import RequestError
from mmesid.serving import Answer, Recommended


class Service:
    """Knows the items a, b and c, and recommends one, named after its version."""

    n_items = 3

    def __init__(self, version: str) -> None:
        self._version = version

    def knows(self, item: str) -> bool:
        return item in {"a", "b", "c"}

    def recommend(self, histories: list[list[str]], k: int) -> list[Answer]:
        assert 1 <= k <= self.n_items
        assert all(any(map(self.knows, history)) for history in histories)
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


@pytest.mark.usefixtures("promoted_meanwhile")
def test_who_took_only_what_the_champion_does_not_know_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sequences = Sequences(["me", "new", "you"], [np.array([1, 2]), np.array([4]), np.array([3, 4])], 4)
    monkeypatch.setattr(batch, "load_sequences", lambda store: sequences)
    monkeypatch.setattr(batch, "load_items", lambda store: pd.DataFrame({"item_id": ["a", "b", "c", "d"]}))
    table = pd.read_parquet(batch.recommend.fn("toys", 30, tmp_path))  # at most 30 of three
    assert table["user_id"].to_list() == ["me", "you"]
    assert "2 users, up to 30 items each" in (said := capsys.readouterr().out)
    assert "left out: 1 users who took only items that this model does not know" in said
    monkeypatch.setattr(batch, "load_items", lambda store: pd.DataFrame({"item_id": ["q", "r", "s", "d"]}))
    with pytest.raises(RequestError, match=r"mme-sid-toys/\d knows no item"):
        batch.recommend.fn("toys", 1, tmp_path)
    assert (tmp_path / "recommendations" / "toys.parquet").exists(), "the file before stays"
