"""Removals on the tiny world: what is removed is nowhere, all else is as it was, and a finished run is not repeated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks import removals
from mmesid.artifacts.fuse import load_fusion
from mmesid.artifacts.store import Store
from mmesid.artifacts.tokenize import load_semantic_ids
from mmesid.models import MAIN_MODEL
from mmesid.recommender import loading
from tests import tiny

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(900)]

CONTENT_MODALITIES = {"text", "image"}
ALL = {"collaborative", "text", "image"}
CONTENT = {"text", "image", "text_codes", "image_codes"}


class Ran(NamedTuple):
    """One seed of every removal."""

    checkout: Path
    folder: Path
    result: dict[str, Any]

    def store(self, name: str) -> Store:
        return Store(tiny.NAME, self.folder / "seed-3" / name.replace(" ", "-"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, project_copy: Callable[[Path], Path]) -> Ran:
    checkout = tiny.make(project_copy(tmp_path_factory.mktemp("removals") / "checkout"))
    folder = checkout.with_name("projects")
    return Ran(checkout, folder, removals.run(tiny.NAME, [3], folder, checkout))


@pytest.mark.parametrize("name", removals.REMOVALS)
def test_what_is_removed_is_in_no_part_of_the_model(name: str, ran: Ran) -> None:
    store, gone = ran.store(name), removals.REMOVALS[name].modality
    assert set(load_semantic_ids(store).codes) == ALL - {gone}
    model = loading.load_finetuned(store.folder("init_codes"), store.folder("finetune"), "cpu")
    assert set(model.items.code_tables()) == set(model.blueprint.shapes) == CONTENT_MODALITIES - {gone}
    fusion = load_fusion(store.folder("fuse"))
    kinds = CONTENT - {gone, f"{gone}_codes"} | ({"popularity", "transitions"} if gone != "collaborative" else set())
    assert set(fusion.weights[MAIN_MODEL].evidence) == kinds
    assert (len(fusion.bins) == 1) == (gone == "collaborative")
    assert not model.blueprint.item_id


def test_every_removal_is_compared_with_everything_by_row(ran: Ran) -> None:
    assert (ran.result["dataset"], ran.result["seeds"]) == (tiny.NAME, [3])
    for model in removals.MODELS:
        found = ran.result[model]
        assert set(found["mean"]) == set(removals.REMOVALS)
        assert set(found["everything_vs"]) == set(removals.REMOVALS) - {removals.EVERYTHING}
        for name, versus in found["everything_vs"].items():
            expected = found["mean"][removals.EVERYTHING] - found["mean"][name]
            assert versus["difference"] == pytest.approx(expected)
            assert versus["low"] <= versus["difference"] <= versus["high"]


def test_all_removals_stand_on_the_same_users_and_the_same_baseline(ran: Ran) -> None:
    values = removals.removals(tiny.NAME, 3, ran.folder / "seed-3", ran.checkout)
    for found in values.values():
        assert found["sasrec"].tolist() == values[removals.EVERYTHING]["sasrec"].tolist()
        assert found["mme_sid"].tolist() != found["sasrec"].tolist()


def test_a_finished_run_is_not_repeated_and_another_seed_is_another_run(ran: Ran, tmp_path: Path) -> None:
    files = [ran.store(name).folder("finetune") / "adapter.safetensors" for name in removals.REMOVALS]
    before = [file.stat().st_mtime_ns for file in files]
    assert removals.run(tiny.NAME, [3], ran.folder, ran.checkout) == ran.result
    assert [file.stat().st_mtime_ns for file in files] == before
    assert "\nseed: 3\n" in (ran.folder / "seed-3" / "shared" / "params.yaml").read_text(encoding="utf-8")


def test_a_modality_that_the_dataset_lacks_is_not_removed(ran: Ran, tmp_path: Path) -> None:
    tiny.override(ran.checkout, {"encode_content": {"image": "none"}, "finetune": {"epochs": 1}})
    found = removals.removals(tiny.NAME, 0, tmp_path, ran.checkout)
    assert set(found) == set(removals.REMOVALS) - {"without image"}
