"""What the served model answers, and what it answers when asked something odd."""

from pathlib import Path

import numpy as np
import pytest

from mmesid import config, serving
from mmesid.artifacts.prepare import load_prepared
from mmesid.errors import RequestError
from mmesid.recommender import loading
from mmesid.recommender.inference import Scorer
from mmesid.serving import Service
from tests import tiny_world
from tests.tiny_world import DATASET, N_ITEMS


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    tiny_world.make(folder)
    return folder


@pytest.fixture(scope="module")
def bundle(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    serving.write_bundle(tiny_world.Store(DATASET, root), config.load(DATASET, root), folder)
    return folder


@pytest.fixture(scope="module")
def service(bundle: Path) -> Service:
    return serving.load(bundle)


def ids(answer: serving.Answer) -> list[str]:
    return [item.item_id for item in answer.items]


def test_the_service_scores_as_the_pipeline_does(root: Path, service: Service) -> None:
    store = tiny_world.Store(DATASET, root)
    model = loading.load_finetuned(store.folder("init_codes"), store.folder("finetune"), "cpu")
    history = np.array([3, 9, 4])
    expected = Scorer(model).recommend([history], 5)
    (answer,) = service.recommend([["item-3", "item-9", "item-4"]], 5)
    assert ids(answer) == [f"item-{number}" for number in expected.items[0]]
    np.testing.assert_allclose([item.score for item in answer.items], expected.scores[0], rtol=1e-6)
    assert answer.note == ""


def test_the_bundle_holds_no_trainer_and_no_pickle(bundle: Path) -> None:
    names = {path.name for path in bundle.rglob("*") if path.is_file()}
    assert "trainer.safetensors" not in names
    assert {Path(name).suffix for name in names} <= {".json", ".safetensors", ".parquet"}


def test_equal_models_have_equal_digests(root: Path) -> None:
    store, settings = tiny_world.Store(DATASET, root), config.load(DATASET, root)
    digests = {serving.bundle_digest(store, settings) for _ in range(2)}
    assert len(digests) == 1
    changed = settings.model_copy(update={"evaluate": settings.evaluate.model_copy(update={"exclude_history": False})})
    assert serving.bundle_digest(store, changed) not in digests


def test_users_do_not_see_each_other(service: Service) -> None:
    histories = [["item-1"], ["item-2", "item-3"], ["item-4"] * 30]
    together = service.recommend(histories, 7)
    for history, answer in zip(histories, together, strict=True):
        (alone,) = service.recommend([history], 7)
        assert ids(alone) == ids(answer)


def test_taken_items_are_not_recommended(service: Service) -> None:
    (answer,) = service.recommend([["item-1", "item-2"]], N_ITEMS)
    assert sorted(ids(answer), key=lambda name: int(name[5:])) == [f"item-{n}" for n in range(3, N_ITEMS + 1)]
    assert answer.note == f"only {N_ITEMS - 2} of {N_ITEMS} items are left"


def test_unknown_items_are_left_out_with_a_note(service: Service) -> None:
    (with_unknown,) = service.recommend([["item-1", "no such", "item-2"]], 5)
    (without,) = service.recommend([["item-1", "item-2"]], 5)
    assert with_unknown.items == without.items
    assert with_unknown.note == "not in the catalogue, left out: 'no such'"


def test_only_the_last_items_of_a_long_history_count(service: Service) -> None:
    length = service.scorer.model.blueprint.history_length
    tail = [f"item-{1 + number % 20}" for number in range(length)]
    (long,) = service.recommend([["item-40"] * 30 + tail], 5)
    (short,) = service.recommend([tail], 6)
    assert ids(long) == [name for name in ids(short) if name != "item-40"][:5]  # excluded, though it is too far back


def test_an_item_without_title_goes_by_its_id(service: Service) -> None:
    (answer,) = service.recommend([["item-2"]], N_ITEMS)
    titles = {item.item_id: item.title for item in answer.items}
    assert titles["item-1"] == "item-1"
    assert titles["item-3"] == "Title of 3"


def test_no_request_is_no_answer(service: Service) -> None:
    assert service.recommend([], 5) == []


@pytest.mark.parametrize(
    ("histories", "k", "message"),
    [
        ([[]], 5, "history 0 is empty"),
        ([["item-1"], []], 5, "history 1 is empty"),
        ([["x", "y"]], 5, "history 0: the catalogue has none of the items 'x', 'y'"),
        ([["x"] * 9], 5, "and 4 more"),
        (["item-1"], 5, "expected a list of item ids"),
        ([[1, 2]], 5, "expected a list of item ids"),
        ([["item-1"]], 0, f"from 1 to {N_ITEMS}"),
        ([["item-1"]], N_ITEMS + 1, f"from 1 to {N_ITEMS}"),
        ([["item-1"]], 2.5, f"from 1 to {N_ITEMS}"),
    ],
)
def test_a_request_without_an_answer_says_why(service: Service, histories: list, k: int, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        service.recommend(histories, k)


def test_ranks_on_the_own_catalogue_are_the_evaluations(root: Path, service: Service) -> None:
    prepared = load_prepared(tiny_world.Store(DATASET, root))
    histories, targets = prepared.sequences.history("valid"), prepared.sequences.target("valid")
    expected = Scorer(service.scorer.model).rank(histories, targets, True, 256)
    found = service.rank(prepared.items["item_id"].to_list(), histories, targets, True)
    np.testing.assert_array_equal(found, expected)


def test_ranks_follow_items_when_the_catalogue_is_numbered_anew(root: Path, service: Service) -> None:
    prepared = load_prepared(tiny_world.Store(DATASET, root))
    histories, targets = prepared.sequences.history("valid"), prepared.sequences.target("valid")
    item_ids = prepared.items["item_id"].to_list()
    order = np.random.default_rng(0).permutation(N_ITEMS)  # the new number of each item, less one
    renamed = np.empty(N_ITEMS, dtype=object)
    renamed[order] = item_ids
    to_new = np.concatenate([[0], order + 1])
    before = service.rank(item_ids, histories, targets, True)
    after = service.rank(list(renamed), [to_new[history] for history in histories], to_new[targets], True)
    np.testing.assert_array_equal(before, after)


def test_unknown_targets_rank_last_and_unknown_items_push_nobody_down(service: Service) -> None:
    item_ids = [f"item-{number}" for number in range(1, N_ITEMS + 1)] + ["new-1", "new-2"]
    histories = [np.array([1, 2]), np.array([1, 2]), np.array([N_ITEMS + 1]), np.array([1, N_ITEMS + 1])]
    targets = np.array([3, N_ITEMS + 1, 5, 3])
    found = service.rank(item_ids, histories, targets, True)
    (alone,) = service.rank(item_ids[:N_ITEMS], [np.array([1, 2])], np.array([3]), True)
    assert found[0] == alone
    assert found[1] == N_ITEMS + 2 - 2  # all candidates: every item but the two of the history
    assert found[2] == N_ITEMS + 2 - 1  # a history of nothing known: the target is last as well
    assert found[3] <= N_ITEMS - 1
