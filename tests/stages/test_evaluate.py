"""The stage judges every row that the dataset has by one protocol, and leaves all that report and gate read."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mmesid import config
from mmesid.artifacts.baselines import save_rivals
from mmesid.artifacts.encode import save_embedding, save_sasrec
from mmesid.artifacts.evaluate import load_examples, load_metrics, load_ranks, load_spectra, reported_metrics
from mmesid.artifacts.ingest import save_oracle
from mmesid.artifacts.prepare import load_items
from mmesid.artifacts.store import Store
from mmesid.artifacts.tokenize import save_diagnostics, save_semantic_ids
from mmesid.artifacts.values import Embedding, Oracle, SemanticIds, Sequences
from mmesid.encoders.sasrec import build
from mmesid.evaluation.metrics import ndcg
from mmesid.evaluation.ranking import checkpoint_users
from mmesid.models import LIST_METRICS, MODELS, RANK_METRICS
from mmesid.recommender import loading
from mmesid.stages import evaluate
from mmesid.tracking import StageRun
from tests import tiny_world
from tests.tiny_world import DATASET, N_ITEMS, USERS


@pytest.fixture(scope="module")
def settings() -> config.Config:
    whole = config.load(DATASET, tiny_world.PROJECT)
    return whole.model_copy(update={"evaluate": whole.evaluate.model_copy(update={"bootstrap": 100})})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, settings: config.Config) -> Store:
    """All that the stages before leave of a real catalogue."""
    store = tiny_world.make(tmp_path_factory.mktemp("evaluate"))
    draw, present = np.random.default_rng(0), np.arange(N_ITEMS + 1) > 0
    model = loading.load_initial(store.folder("init_codes"), "cpu")
    tables = {modality: table.numpy() for modality, table in model.items.code_tables().items()}
    for modality in ("collaborative", *tables):
        matrix = draw.standard_normal((N_ITEMS + 1, 6)).astype(np.float32) * present[:, None]
        save_embedding(store, modality, Embedding(matrix, present))
    codes = {modality: draw.integers(0, 5, (N_ITEMS + 1, 3)) * present[:, None] for modality in tables}
    save_semantic_ids(store, SemanticIds(codes, tables, dict.fromkeys(tables, present)))
    save_diagnostics(store, {"text": {"perplexity": 3.0}})
    torch.manual_seed(0)
    length = settings.protocol.history_length
    save_sasrec(store, build(N_ITEMS, settings.encode_collaborative, length).state_dict())
    save_rivals(store, [])
    return store


@pytest.fixture(scope="module")
def judged(settings: config.Config, store: Store) -> pd.DataFrame:
    """The stage has run; its ranks."""
    run(settings, store)
    return load_ranks(store)


def run(settings: config.Config, store: Store) -> None:
    evaluate.run(settings, store, StageRun("evaluate", None))


def test_every_row_that_a_real_catalog_has_without_asking_is_judged(judged: pd.DataFrame, store: Store) -> None:
    metrics = load_metrics(store)
    rows = {name for name, model in MODELS.items() if name != "oracle" and not model.listed}
    assert metrics == reported_metrics(store.root)[DATASET]
    assert set(metrics) == {
        "adapter",
        "backbone",
        "protocol",
        "data",
        "valid",
        "test",
        "tokenizer",
        "fusion",
        "forgetting",
        "collapse",
    }
    assert metrics["protocol"]["exclude_history"] is True
    for split in ("valid", "test"):
        assert set(metrics[split]) - {"slices", "users"} == rows
        assert all({*RANK_METRICS, *LIST_METRICS, "ci95"} <= set(metrics[split][model]) for model in rows)
    assert judged.groupby(["split", "model"]).size().to_dict() == {
        (split, model): USERS for split in ("valid", "test") for model in rows
    }
    gate = ~checkpoint_users([f"user-{user}" for user in range(USERS)])
    assert (metrics["valid"]["users"], metrics["test"]["users"]) == (gate.sum(), USERS)
    ranks = judged[(judged["split"] == "valid") & (judged["model"] == "mme_sid")].sort_values("user")["rank"].to_numpy()
    assert metrics["valid"]["mme_sid"]["ndcg_at_10"] == pytest.approx(ndcg(ranks[gate], 10).mean(), abs=1e-6)
    assert all(rows <= set(row) for row in metrics["test"]["slices"]["item_frequency"])
    assert set(metrics["fusion"]) == {"mme_sid", "sasrec_fused", "evidence"}
    assert set(load_spectra(store)) == {"item input", "collaborative alone"}
    assert set(metrics["forgetting"]["text"]) == {"tau_init", "tau_random_init", "tau_finetuned"}
    assert len(load_examples(store)) == 20


def test_numbers_have_six_decimals(judged: pd.DataFrame, store: Store) -> None:
    text = Path(store.folder("evaluate") / "metrics.json").read_text(encoding="utf-8")
    found: list[float] = []
    json.loads(text, parse_float=lambda digits: found.append(float(digits)) or 0.0)
    assert len(found) > 100
    assert all(value == round(value, 6) for value in found)


def test_examples_are_the_main_models_lists(judged: pd.DataFrame, store: Store) -> None:
    mine = judged[(judged["split"] == "test") & (judged["model"] == "mme_sid")].set_index("user")["rank"]
    for example in load_examples(store):
        places = {found["item"]: place for place, found in enumerate(example["recommended"], start=1)}
        rank = int(mine[int(example["user_id"].removeprefix("user-"))])
        assert places.get(example["target"], rank) == rank
        assert not set(example["history"]) & set(places)


def test_a_drawn_catalog_has_its_oracle_and_the_same_ranks_of_all_others(
    settings: config.Config, store: Store, judged: pd.DataFrame
) -> None:
    ids, draw = load_items(store)["item_id"].to_list(), np.random.default_rng(3)
    query, key = draw.standard_normal((2, N_ITEMS, 4)).astype(np.float32)
    save_oracle(store, Oracle(ids, query, key, np.float32([1.0]), np.zeros(N_ITEMS, dtype=np.float32)))
    run(settings, store)
    after = load_ranks(store)
    assert set(after["model"]) == {*judged["model"], "oracle"}
    others = after[after["model"] != "oracle"].reset_index(drop=True)
    assert others.to_dict("list") == judged.to_dict("list")
    assert "oracle" in load_metrics(store)["test"]["mme_sid"]["vs"]
    for path in store.folder("ingest").glob("oracle.*"):
        path.unlink()


def test_batches_of_users_change_nothing(settings: config.Config, store: Store, judged: pd.DataFrame) -> None:
    run(settings.model_copy(update={"evaluate": settings.evaluate.model_copy(update={"batch_users": 7})}), store)
    differing = (load_ranks(store)["rank"] != judged["rank"]).mean()
    assert differing < 0.01  # rounding may swap two items of nearly equal score


def test_figures_that_owe_much_to_the_exclusion_of_the_history_are_warned_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = Sequences(["u"], [np.array([1, 2, 3])], N_ITEMS)
    evaluate._warn_of_exclusion(plain)
    assert not capsys.readouterr().err
    whole, again = np.arange(1, N_ITEMS + 1), np.array([1, 2, 1])
    evaluate._warn_of_exclusion(plain._replace(user_ids=list("uvw"), items=[*plain.items, whole, again]))
    told = capsys.readouterr().err
    assert "1 of 3 test users have had every item" in told
    assert "1 of 3 test users take an item again" in told
    assert "protocol.exclude_history: false" in told
