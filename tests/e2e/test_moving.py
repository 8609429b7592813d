"""A checkout that moves while Postgres keeps its runs: history, models and champion come along."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from mmesid import registry, tracking
from mmesid.artifacts.store import Store
from mmesid.tracking import moving
from tests import ports, tiny_world
from tests.e2e.postgres import Postgres
from tests.tiny_world import DATASET

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def test_places_on_postgres_follow_a_folder_that_moves(tmp_path: Path) -> None:
    old, new = tmp_path / "a folder", tmp_path / "another one"
    (old / "mlruns" / "artifacts" / "toys" / "1" / "artifacts").mkdir(parents=True)
    at = (old / "mlruns" / "artifacts" / "toys").as_uri()
    with Postgres(ports.free(1)[0]) as postgres:
        uri = f"{postgres.url}/postgres"
        engine = create_engine(uri)
        with engine.begin() as connection:
            for table in ("experiments (artifact_location", "runs (artifact_uri", "tags (key text, value"):
                connection.execute(text(f"CREATE TABLE {table} text)"))
            connection.execute(text("INSERT INTO experiments VALUES (:place)"), {"place": at})
            connection.execute(text("INSERT INTO runs VALUES (:place)"), {"place": f"{at}/1/artifacts"})
        assert moving.settle_elsewhere(uri, old / "mlruns") == []
        old.rename(new)
        assert moving.settle_elsewhere(uri, new / "mlruns") == [str(old / "mlruns")]
        with engine.begin() as connection:
            place = connection.execute(text("SELECT artifact_uri FROM runs")).scalar()
        engine.dispose()
    assert place == f"{(new / 'mlruns' / 'artifacts' / 'toys').as_uri()}/1/artifacts"


def test_a_checkout_that_moves_keeps_what_postgres_knows_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "old"
    old.mkdir()
    store = tiny_world.make(old)
    with Postgres(ports.free(1)[0]) as postgres:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{postgres.url}/postgres")
        assert registry.register(DATASET, old) == "1"
        assert registry.promote(DATASET, old).passed
        (expected,) = registry.load_champion(DATASET, old).recommend([["item-3", "item-9"]], 4)

        new = old.rename(tmp_path / "new")
        assert "version 1" in registry.history(DATASET, new)
        assert registry.load_champion(DATASET, new).recommend([["item-3", "item-9"]], 4) == [expected]
        tiny_world.train(Store(store.dataset, new), tiny_world.catalogue(), seed=7)
        assert registry.register(DATASET, new) == "2"
        places = [run.info.artifact_uri for run in tracking.runs_for(DATASET, new, stage="register")]
        assert len(places) == 2
        assert all(place.startswith((new / "mlruns").as_uri()) for place in places)
        assert not old.exists()
