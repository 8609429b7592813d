"""What the served model answers, and what it answers when asked something odd."""

import csv
import warnings
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from torch import Tensor

from mmesid import config, serving
from mmesid.artifacts.files import load_frame, load_json
from mmesid.artifacts.fuse import load_fusion
from mmesid.artifacts.prepare import load_items, load_sequences
from mmesid.artifacts.values import Sequences
from mmesid.config import Protocol
from mmesid.errors import RequestError
from mmesid.evaluation.ranking import best, judge
from mmesid.fusion.fused import Fused
from mmesid.models import MAIN_MODEL
from mmesid.recommender import loading
from mmesid.recommender.inference import Scorer
from mmesid.serving import Service, split_ids
from mmesid.serving.service import in_catalog
from tests import tiny_world
from tests.tiny_world import DATASET, N_ITEMS

PROTOCOL = Protocol(exclude_history=True, history_length=50)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    tiny_world.make(folder)
    return folder


@pytest.fixture(scope="module")
def bundle(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    serving.write_bundle(serving.collect(tiny_world.Store(DATASET, root), config.load(DATASET, root)), folder)
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
    network, fusion = Scorer(model), load_fusion(store.folder("fuse"))
    expected = best(Fused(network, fusion, MAIN_MODEL), [history], 5, True)
    (answer,) = service.recommend([["item-3", "item-9", "item-4"]], 5)
    assert ids(answer) == [f"item-{number}" for number in expected.items[0]]
    np.testing.assert_allclose([item.score for item in answer.items], expected.scores[0], rtol=1e-6)
    assert answer.note == ""
    assert ids(answer) != [f"item-{number}" for number in best(network, [history], 5, True).items[0]]


def test_the_services_lists_are_the_evaluations(root: Path, service: Service) -> None:
    store = tiny_world.Store(DATASET, root)
    model = loading.load_finetuned(store.folder("init_codes"), store.folder("finetune"), "cpu")
    row = Fused(Scorer(model), load_fusion(store.folder("fuse")), MAIN_MODEL)
    sequences = load_sequences(store)
    histories = sequences.history("test")
    judged = judge(row, histories, sequences.target("test"), exclude_history=True, k=20)
    answers = service.recommend([[f"item-{number}" for number in history] for history in histories], 20)
    lists = [[int(name[5:]) for name in ids(answer)] for answer in answers]
    assert lists == [[number for number in found if number] for found in judged.lists.tolist()]


def test_a_bundle_from_before_late_fusion_answers_by_its_network(root: Path, bundle: Path, tmp_path: Path) -> None:
    older = copytree(bundle, tmp_path / "older", ignore=ignore_patterns("fuse"))
    store = tiny_world.Store(DATASET, root)
    model = loading.load_finetuned(store.folder("init_codes"), store.folder("finetune"), "cpu")
    histories = [np.array([3, 9, 4]), np.array([1])]
    answers = serving.load(older).recommend([["item-3", "item-9", "item-4"], ["item-1"]], 5)
    expected = best(Scorer(model), histories, 5, True)
    assert [ids(answer) for answer in answers] == [[f"item-{number}" for number in row] for row in expected.items]
    scores = [[item.score for item in answer.items] for answer in answers]
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-6)


def test_the_bundle_holds_no_trainer_and_no_pickle(bundle: Path) -> None:
    names = {path.name for path in bundle.rglob("*") if path.is_file()}
    assert "trainer.safetensors" not in names
    assert {Path(name).suffix for name in names} <= {".json", ".safetensors", ".parquet"}


def test_what_a_bundle_holds_beside_the_model_never_changes(bundle: Path) -> None:
    """The versions that are registered are read by the code of tomorrow."""
    assert list(load_frame(bundle / "items.parquet").columns) == ["item_id", "title"]
    assert load_json(bundle / "serving.json") == {"dataset": DATASET, "exclude_history": True}
    assert (bundle / "init_codes" / "recommender.json").exists()
    assert (bundle / "finetune" / "recommender.json").exists()
    assert (bundle / "fuse" / "weights.json").exists()


def test_equal_models_have_equal_digests(root: Path) -> None:
    store, settings = tiny_world.Store(DATASET, root), config.load(DATASET, root)
    digests = {serving.bundle_digest(serving.collect(store, settings)) for _ in range(2)}
    assert len(digests) == 1
    all_items = settings.protocol.model_copy(update={"exclude_history": False})
    changed = settings.model_copy(update={"protocol": all_items})
    assert serving.bundle_digest(serving.collect(store, changed)) not in digests


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


def test_only_the_by_lengths_of_a_long_history_count(service: Service) -> None:
    length = PROTOCOL.history_length
    tail = [f"item-{1 + number % 20}" for number in range(length)]
    (long,) = service.recommend([["item-40"] * 30 + tail], 5)
    (short,) = service.recommend([tail], 6)
    assert ids(long) == [name for name in ids(short) if name != "item-40"][:5]  # excluded, though it is too far back


def test_an_item_without_title_goes_by_its_id(service: Service) -> None:
    (answer,) = service.recommend([["item-2"]], N_ITEMS)
    titles = {item.item_id: item.title for item in answer.items}
    assert titles["item-1"] == "item-1"
    assert titles["item-3"] == "Title of 3"


def test_a_request_may_write_ids_in_any_form_of_the_tables(service: Service) -> None:
    """The tables read 7, 7.0 and ' 7 ' as one id; a catalogue that knows 2.0 beside 2 tells them apart."""
    names = ["7", "8.5", "x", "2", "2.0", *(f"item-{number}" for number in range(6, N_ITEMS + 1))]
    own = Service(service.scores, names, names, exclude_history=True)
    expected = own.recommend([["7", "x"]], 5)
    for history in ([7, "x"], [7.0, " x"], ["7.0", "x"], ["7 ", "x\n"], [np.int64(7), "x"], [np.float32(7), "x"]):
        assert own.recommend([history], 5) == expected
    assert own.recommend([[8.5]], 5) == own.recommend([["8.5"]], 5)
    assert own.recommend([["2.0"]], 5) != own.recommend([["2"]], 5)
    (answer,) = own.recommend([["07", "x"]], 5)
    assert answer.note == "not in the catalogue, left out: '07'"


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
        ([[1, 2]], 5, "history 0: the catalogue has none of the items '1', '2'"),
        ([[True]], 5, "expected a list of item ids"),
        ([[["item-1"]]], 5, "expected a list of item ids"),
        ([{"item-1": 1}], 5, "expected a list of item ids"),
        ([{"item-1"}], 5, "expected a list of item ids"),
        ([b"item-1"], 5, "expected a list of item ids"),
        ([["item-1"]], 0, f"from 1 to {N_ITEMS}"),
        ([["item-1"]], N_ITEMS + 1, f"from 1 to {N_ITEMS}"),
        ([["item-1"]], 2.5, f"from 1 to {N_ITEMS}"),
    ],
)
def test_a_request_without_an_answer_says_why(service: Service, histories: list, k: int, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        service.recommend(histories, k)


def test_an_endless_id_is_refused() -> None:
    before = csv.field_size_limit(131_072)  # as it is where no table was read
    try:
        with pytest.raises(RequestError, match="item ids between commas: field larger than"):
            split_ids('"' + "item-1," * 30_000)
    finally:
        csv.field_size_limit(before)


@pytest.fixture(scope="module")
def pyfunc() -> Any:
    """The module that MLflow loads a registered model from."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")
        from mmesid.serving import pyfunc
    return pyfunc


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("item-1, item-2", ["item-1", "item-2"]),
        ('"x,y",item-2', ["x,y", "item-2"]),
        (["item-1", "", " "], ["item-1"]),
        (np.array([7, 8]), [7, 8]),
        (np.int64(7), [7]),
        (7.0, [7.0]),
        (pd.NA, []),
        (None, []),
        (float("nan"), []),
        ({"item-1": 1}, {"item-1": 1}),
    ],
)
def test_the_registered_model_takes_a_history_in_many_forms(pyfunc: Any, given: Any, read: Any) -> None:
    assert pyfunc._as_list(given) == read


def test_the_registered_model_leaves_k_to_the_service(pyfunc: Any, service: Service) -> None:
    model = pyfunc.RegisteredRecommender()
    model.service = service
    table = pd.DataFrame({"history": ["item-1"]})
    for params in (None, {}, {"k": None}, {"k": np.int64(10)}):
        assert len(model.predict(None, table, params)["item_ids"][0]) == 10
    for k in (2.9, True, "3", 0):
        with pytest.raises(MlflowException, match=f"k must be a whole number from 1 to {N_ITEMS}"):
            model.predict(None, table, {"k": k})


@pytest.fixture
def sequences(root: Path) -> Sequences:
    return load_sequences(tiny_world.Store(DATASET, root))


@pytest.fixture
def item_ids(root: Path) -> list[str]:
    return load_items(tiny_world.Store(DATASET, root))["item_id"].to_list()


@pytest.mark.parametrize("exclude_history", [True, False])
def test_ranks_on_the_own_catalog_are_the_evaluations(
    sequences: Sequences, item_ids: list[str], service: Service, exclude_history: bool
) -> None:
    histories, targets = sequences.history("valid"), sequences.target("valid")
    expected = judge(service.scores, histories, targets, exclude_history).ranks
    protocol = PROTOCOL.model_copy(update={"exclude_history": exclude_history})
    np.testing.assert_array_equal(service.rank(item_ids, histories, targets, protocol), expected)


def test_ranks_follow_items_when_the_catalog_is_renumbered(
    sequences: Sequences, item_ids: list[str], service: Service
) -> None:
    histories, targets = sequences.history("valid"), sequences.target("valid")
    order = np.random.default_rng(0).permutation(N_ITEMS)  # the new number of each item, less one
    renamed = np.empty(N_ITEMS, dtype=object)
    renamed[order] = item_ids
    to_new = np.concatenate([[0], order + 1])
    before = service.rank(item_ids, histories, targets, PROTOCOL)
    after = service.rank(list(renamed), [to_new[history] for history in histories], to_new[targets], PROTOCOL)
    np.testing.assert_array_equal(before, after)


def test_unknown_targets_rank_last_and_unknown_items_push_nothing_down(service: Service) -> None:
    item_ids = [f"item-{number}" for number in range(1, N_ITEMS + 1)] + ["new-1", "new-2"]
    histories = [np.array([1, 2]), np.array([1, 2]), np.array([N_ITEMS + 1]), np.array([1, N_ITEMS + 1])]
    targets = np.array([3, N_ITEMS + 1, 5, 3])
    ranks = service.rank(item_ids, histories, targets, PROTOCOL)
    (alone,) = service.rank(item_ids[:N_ITEMS], [np.array([1, 2])], np.array([3]), PROTOCOL)
    assert ranks[0] == alone
    assert ranks[1] == N_ITEMS + 2 - 2  # all candidates: every item but the two of the history
    assert ranks[2] == N_ITEMS + 2 - 1  # no known item in the history: the target is last as well
    assert ranks[3] <= N_ITEMS - 1


def by_length(histories: list[NDArray[np.int64]]) -> Tensor:
    """A model of three items: it adds ten for each item of the history, and each item's number."""
    assert all(len(history) for history in histories)
    return torch.tensor(
        [[-torch.inf, *(10.0 * len(history) + number for number in (1, 2, 3))] for history in histories]
    )


def test_scores_in_another_catalog() -> None:
    """Its items are 2, new, 3, 1 and new again."""
    scores = in_catalog(by_length, np.array([0, 2, 0, 3, 1, 0]), history_length=2)
    nothing = -torch.inf
    known, long, unknown = scores([np.array([2, 1]), np.array([1, 3, 4, 5]), np.array([2, 5])]).tolist()
    assert known == [nothing, 12, nothing, 13, 11, nothing]
    assert long == [nothing, 22, nothing, 23, 21, nothing]  # the latest two known items count
    assert unknown == [nothing] * 6
    assert scores([np.array([5])]).tolist() == [[nothing] * 6]
