"""No row of the results table sees what it is judged by: the test targets, and the gate's half of the validation.

The stages run on a small world in which these targets are drawn at random. Every row must judge them as it judges any
others, and whatever is fitted must be the same, bit by bit, when they are other items.
"""

import io
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mmesid import config as configuration
from mmesid import tracking
from mmesid.artifacts.fuse import load_fusion
from mmesid.artifacts.ingest import save_oracle
from mmesid.artifacts.prepare import load_sequences, save_prepared
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Oracle, Prepared, Sequences, Split
from mmesid.baselines import BASELINES
from mmesid.evaluation.metrics import ndcg
from mmesid.evaluation.ranking import Scores, checkpoint_users, judge
from mmesid.evaluation.summary import reported_users
from mmesid.fusion.fused import Fused
from mmesid.models import MAIN_MODEL, MODELS, NETWORK_MODEL
from mmesid.recommender import loading
from mmesid.recommender.inference import Scorer
from tests import tiny

N_ITEMS, USERS, LENGTH = 150, 800, 8
FOLLOWS = 7  # item i is followed by i + 7, modulo N
FITTED = ("encode_collaborative", "encode_content", "tokenize", "init_codes", "finetune", "baselines", "fuse")
RIVALS = {"rivals": ["content_transformer"], "content_transformer": {"dimension": 16, "hidden": 16, "epochs": 3}}
SHUFFLES = 200
BOUND = 4.5  # standard deviations: what luck exceeds once in 150,000 times


def world() -> Sequences:
    """Users walk by one law up to the checkpoint half's validation targets; all that judges is drawn at random."""
    draw = np.random.default_rng(0)
    steps = FOLLOWS * np.arange(LENGTH)
    items = [1 + (start + steps) % N_ITEMS for start in draw.integers(0, N_ITEMS, USERS)]
    sequences = Sequences([f"user-{user}" for user in range(USERS)], items, N_ITEMS)
    return redrawn(sequences, seed=1)


def redrawn(sequences: Sequences, seed: int) -> Sequences:
    """Other test targets, and other validation targets of the gate."""
    draw = np.random.default_rng(seed)
    items = [sequence.copy() for sequence in sequences.items]
    gate = ~checkpoint_users(sequences.user_ids)
    for user, sequence in enumerate(items):
        sequence[-1] = draw.integers(1, N_ITEMS + 1)
        if gate[user]:
            sequence[-2] = draw.integers(1, N_ITEMS + 1)
    return sequences._replace(items=items)


def with_another_training_item(sequences: Sequences) -> Sequences:
    """The first user took something else at first."""
    first, *others = sequences.items
    return sequences._replace(items=[np.concatenate([first[:1] % N_ITEMS + 1, first[1:]]), *others])


def prepared(sequences: Sequences) -> Prepared:
    """Items with a text and a picture each."""
    draw = np.random.default_rng(2)
    names = [f"{('Amber', 'Birch', 'Cedar')[number % 3]} lamp {number}" for number in range(N_ITEMS)]
    frame = pd.DataFrame({"item_id": [f"i{n}" for n in range(N_ITEMS)], "title": names, "image_name": None})
    pictures: list[bytes | None] = []
    for _ in range(N_ITEMS):
        buffer = io.BytesIO()
        Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(buffer, "PNG")
        pictures.append(buffer.getvalue())
    return Prepared(sequences, frame, pictures)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> configuration.Config:
    """The tiny world's sizes."""
    root = tmp_path_factory.mktemp("parameters")
    (root / "conf").mkdir()
    (root / "params.yaml").write_bytes((Path(__file__).parents[2] / "params.yaml").read_bytes())
    tiny.write_yaml(root / "conf" / f"{tiny.NAME}.yaml", {**tiny.CONF, "baselines": RIVALS})
    return configuration.load(tiny.NAME, root)


@pytest.fixture(scope="module")
def fit(
    tmp_path_factory: pytest.TempPathFactory, config: configuration.Config
) -> Callable[[Sequences, Sequence[str]], Store]:
    """A function that runs stages on sequences, in a folder of its own."""

    def run(sequences: Sequences, stages: Sequence[str] = FITTED) -> Store:
        store = Store(tiny.NAME, tmp_path_factory.mktemp("world"))
        save_prepared(store, prepared(sequences))
        draw = np.random.default_rng(3)
        query, key = draw.standard_normal((2, N_ITEMS, 4)).astype(np.float32)
        ids = [f"i{number}" for number in range(N_ITEMS)]
        save_oracle(store, Oracle(ids, query, key, np.float32([1.0]), np.zeros(N_ITEMS, dtype=np.float32)))
        for stage in stages:
            with tracking.silent_run(stage) as log:
                import_module(f"mmesid.stages.{stage}").run(config, store, log)
        return store

    return run


@pytest.fixture(scope="module")
def store(fit: Callable[[Sequences], Store]) -> Store:
    """All that the stages fit on the world."""
    return fit(world())


def rows(store: Store, config: configuration.Config) -> dict[str, Scores]:
    """Every row of the table, as `evaluate` makes them."""
    sequences = load_sequences(store)
    network = Scorer(loading.load_finetuned(store.folder("init_codes"), store.folder("finetune"), "cpu"))
    found: dict[str, Scores] = {
        MAIN_MODEL: Fused(network, load_fusion(store.folder("fuse")), MAIN_MODEL),
        NETWORK_MODEL: network,
    }
    for name, build in BASELINES.items():
        row = build(store, config, sequences)
        assert row is not None, name
        found[name] = row
    assert set(found) == set(MODELS)
    return found


def written(store: Store) -> dict[str, bytes]:
    """Every file of every fitted stage, curves and best epochs included."""
    folders = [store.folder(stage) for stage in FITTED]
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(store.root)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def scored(store: Store, config: configuration.Config) -> dict[tuple[str, Split], Tensor]:
    """What every row makes of the histories of a split."""
    sequences = load_sequences(store)
    splits: tuple[Split, ...] = ("test", "valid")
    return {
        (name, split): row(sequences.history(split)) for name, row in rows(store, config).items() for split in splits
    }


def mean_ndcg(scores: Tensor, histories: list[NDArray[np.int64]], targets: NDArray[np.int64]) -> float:
    """By the loop that judges every row; all items are candidates, so that chance is the same for every model."""
    return float(ndcg(judge(lambda _: scores, histories, targets, False, len(targets)).ranks, 10).mean())


@pytest.mark.parametrize("split", ["test", "valid"])
@pytest.mark.parametrize("name", MODELS)
def test_no_row_does_better_on_its_users_targets_than_on_those_of_others(
    name: str, split: Split, scored: dict[tuple[str, Split], Tensor], store: Store
) -> None:
    sequences, draw = load_sequences(store), np.random.default_rng(4)
    users = reported_users(sequences, split)
    histories, targets = sequences.history(split), sequences.target(split)[users]
    judged = scored[name, split][users], [histories[user] for user in users]
    found = mean_ndcg(*judged, targets)
    chance = [mean_ndcg(*judged, draw.permutation(targets)) for _ in range(SHUFFLES)]
    assert abs(found - np.mean(chance)) < BOUND * np.std(chance)
    assert max(found, np.mean(chance)) < 1.5 * ndcg(np.arange(1, N_ITEMS + 1), 10).mean()


@pytest.mark.parametrize("name", [MAIN_MODEL, "sasrec_fused", "evidence"])
def test_the_law_was_learned_where_it_holds(name: str, scored: dict[tuple[str, Split], Tensor], store: Store) -> None:
    """The rows above are no blind ones: targets that follow the law are found."""
    sequences = load_sequences(store)
    users = np.flatnonzero(checkpoint_users(sequences.user_ids))
    histories, targets = sequences.history("valid"), sequences.target("valid")
    known = [histories[user] for user in users]
    assert mean_ndcg(scored[name, "valid"][users], known, targets[users]) > 0.5


def test_what_is_fitted_does_not_depend_on_what_judges(
    fit: Callable[[Sequences], Store], store: Store, config: configuration.Config
) -> None:
    before, after = load_sequences(store), redrawn(load_sequences(store), seed=5)
    assert (before.target("test") != after.target("test")).mean() > 0.9
    assert 0.4 < (before.target("valid") != after.target("valid")).mean() < 0.6
    other = fit(after)
    found, expected = written(other), written(store)
    assert sorted(found) == sorted(expected)
    assert {name.split("/")[2] for name in expected} == set(FITTED)
    assert [name for name in expected if found[name] != expected[name]] == []
    histories, theirs = before.history("valid"), rows(other, config)
    for name, row in rows(store, config).items():
        assert torch.equal(theirs[name](histories), row(histories)), name


def test_a_training_item_is_seen_by_all_that_learns_from_users(fit: Callable[[Sequences], Store], store: Store) -> None:
    """Else the comparison above would prove nothing."""
    found, expected = written(fit(with_another_training_item(load_sequences(store)))), written(store)
    differing = {name.split("/")[2] for name in expected if found.get(name) != expected[name]}
    assert differing == set(FITTED) - {"encode_content"}
