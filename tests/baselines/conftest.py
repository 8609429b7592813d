"""A small world in which every row of the results table can be built."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mmesid import config
from mmesid.artifacts.baselines import save_rival, save_rivals
from mmesid.artifacts.encode import save_embedding, save_sasrec
from mmesid.artifacts.fuse import load_fusion, save_fusion
from mmesid.artifacts.ingest import save_oracle
from mmesid.artifacts.prepare import save_prepared
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Oracle, Prepared
from mmesid.baselines import BASELINES, content_transformer
from mmesid.config import Config
from mmesid.encoders.sasrec import build
from mmesid.evaluation.ranking import Scores
from mmesid.fusion.fused import Fused
from mmesid.models import FUSED_BASELINE, MAIN_MODEL, NETWORK_MODEL, fused_late
from mmesid.recommender.inference import Scorer
from tests import tiny_world

HISTORY = 5  # T; the longest history of the small world has 13 items
LAGS = 3
Rows = Callable[[str], Scores]


@pytest.fixture(scope="session")
def settings() -> Config:
    whole = config.load("sample", tiny_world.PROJECT)
    small = whole.encode_collaborative.model_copy(update={"dimension": 16, "blocks": 2, "heads": 2})
    protocol = whole.protocol.model_copy(update={"history_length": HISTORY})
    rival = whole.baselines.content_transformer.model_copy(update={"dimension": 16, "hidden": 24})
    baselines = whole.baselines.model_copy(update={"content_transformer": rival})
    return whole.model_copy(update={"encode_collaborative": small, "protocol": protocol, "baselines": baselines})


@pytest.fixture(scope="session")
def prepared() -> Prepared:
    return tiny_world.catalogue()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, settings: Config, prepared: Prepared) -> Store:
    """What `fuse` and the stages that a row reads leave of a drawn catalogue; its law has another order."""
    store = Store("small", tmp_path_factory.mktemp("small"))
    save_prepared(store, prepared)
    draw = np.random.default_rng(0)
    query, key = draw.standard_normal((2, tiny_world.N_ITEMS, 4)).astype(np.float32)
    lags, bias = draw.random(LAGS).astype(np.float32), draw.random(tiny_world.N_ITEMS).astype(np.float32)
    save_oracle(store, Oracle(draw.permutation(prepared.items["item_id"]).tolist(), query, key, lags, bias))
    torch.manual_seed(0)
    save_sasrec(store, build(tiny_world.N_ITEMS, settings.encode_collaborative, HISTORY).state_dict())
    content = {"text": tiny_world.encoded(0)[0]["text"]}
    save_embedding(store, "text", content["text"])
    rival = content_transformer.build(content, settings.baselines.content_transformer, HISTORY)
    save_rival(store, content_transformer.NAME, rival.state_dict(), [])
    save_rivals(store, [content_transformer.NAME])
    fusion = tiny_world.fusion(prepared, 0, HISTORY)
    weights = {**fusion.weights, fused_late(content_transformer.NAME): fusion.weights[FUSED_BASELINE]}
    save_fusion(store.folder("fuse"), fusion._replace(weights=weights))
    return store


@pytest.fixture(scope="session")
def rows(store: Store, settings: Config, prepared: Prepared) -> Rows:
    """Scores of a row by its name, built once."""
    built: dict[str, Scores] = {}

    def row(name: str) -> Scores:
        if name not in built:
            own = name in (MAIN_MODEL, NETWORK_MODEL)
            found = _own(store, prepared, name) if own else BASELINES[name](store, settings, prepared.sequences)
            assert found is not None, name
            built[name] = found
        return built[name]

    return row


def _own(store: Store, prepared: Prepared, name: str) -> Scores:
    model, _ = tiny_world.recommender(prepared, seed=0)
    model.blueprint = replace(model.blueprint, history_length=HISTORY)
    network = Scorer(model)
    return network if name == NETWORK_MODEL else Fused(network, load_fusion(store.folder("fuse")), MAIN_MODEL)


@pytest.fixture
def bare(tmp_path: Path) -> Store:
    """A dataset of which nothing was written."""
    return Store("bare", tmp_path)
