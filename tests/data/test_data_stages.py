"""The stages `ingest` and `prepare`, on a small drawn catalogue and on a folder of files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmesid import config
from mmesid.artifacts.ingest import load_catalogue, load_oracle
from mmesid.artifacts.prepare import load_items, load_pictures, load_sequences
from mmesid.artifacts.store import Store
from mmesid.artifacts.ties import load_tied_share
from mmesid.data import ORACLES, SOURCES
from mmesid.errors import DataError
from mmesid.stages import ingest
from mmesid.stages import prepare as prepare_stage

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, float]]:
    """Runs both stages for the dataset `shop` and gives what they log."""

    def run_stages(**overrides: Any) -> dict[str, float]:
        sections = {name: {} for name, value in _params().items() if isinstance(value, dict)}
        (tmp_path / "conf").mkdir(exist_ok=True)
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(_params()), encoding="utf-8")
        (tmp_path / "conf" / "shop.yaml").write_text(yaml.safe_dump(sections | overrides), encoding="utf-8")
        settings, store = config.load("shop", tmp_path), Store("shop", tmp_path)
        logged: dict[str, float] = {}
        for stage in (ingest, prepare_stage):
            stage.run(settings, store, lambda metrics, step: logged.update(metrics))  # type: ignore[arg-type]
        return logged

    return run_stages


def _params() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))


def test_a_drawn_catalogue_is_saved_with_its_law(run: Callable[..., Any], tmp_path: Path) -> None:
    recipe = yaml.safe_load((ROOT / "sources" / "sample" / "recipe.yaml").read_text(encoding="utf-8"))
    source = tmp_path / "sources" / "shop"
    source.mkdir(parents=True)
    (source / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"users": 40, "items": 30}), encoding="utf-8")
    logged = run(ingest={"source": "sample"}, prepare={"min_item_interactions": 1})
    store = Store("shop", tmp_path)
    oracle = load_oracle(store)
    assert oracle is not None
    assert set(load_items(store)["item_id"]) <= set(oracle.item_ids)
    assert len(load_sequences(store).user_ids) == 40
    assert logged["interactions"] == len(load_catalogue(store).interactions)
    assert 0 < logged["sparsity"] < 1
    assert logged["tied"] == load_tied_share(store) == 0


def test_files_are_read_through_a_link_and_have_no_law(run: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "shop").symlink_to(folder)
    embeddings = {"text": "tiny"}
    logged = run(ingest={"source": "files", "embeddings": embeddings}, prepare={"min_item_interactions": 3})
    store = Store("shop", tmp_path)
    assert load_oracle(store) is None
    assert list(load_catalogue(store).embeddings) == ["text"]
    assert all(str(picture).startswith(r"b'\xff\xd8") for picture in load_pictures(store))
    assert (logged["users"], logged["items"], logged["interactions"]) == (6, 8, 36)


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_every_source_names_what_is_missing(source: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        SOURCES[source](tmp_path / "nothing", {})


def test_every_law_belongs_to_a_source() -> None:
    assert set(ORACLES) <= set(SOURCES)
