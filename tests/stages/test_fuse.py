"""The stage leaves weights for each fused row, the same each time, and logs what they are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mmesid import config
from mmesid.artifacts.baselines import save_rival, save_rivals
from mmesid.artifacts.content import load_content
from mmesid.artifacts.encode import save_embedding, save_sasrec
from mmesid.artifacts.fuse import load_fusion
from mmesid.artifacts.store import Store
from mmesid.artifacts.tokenize import save_semantic_ids
from mmesid.baselines import content_transformer
from mmesid.config import Config
from mmesid.encoders.sasrec import build
from mmesid.fusion import choices
from mmesid.models import EVIDENCE_MODEL, FUSED_BASELINE, MAIN_MODEL, fused_late
from mmesid.stages import fuse
from mmesid.tracking import StageRun
from tests import tiny_world
from tests.tiny_world import DATASET, N_ITEMS


class Recorded(StageRun):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__("fuse", None, shown=False)
        self.metrics: dict[str, object] = {}
        self.files: list[str] = []

    def summary(self, metrics: dict[str, object]) -> None:
        self.metrics |= metrics

    def artifact(self, path: Path) -> None:
        self.files.append(path.name)


@pytest.fixture(scope="module")
def settings() -> Config:
    return config.load(DATASET, tiny_world.PROJECT)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, settings: Config) -> Store:
    """All that the stages before leave of a catalogue without pictures."""
    store = tiny_world.make(tmp_path_factory.mktemp("fuse"))
    embeddings, ids = tiny_world.encoded(0)
    for modality, embedding in embeddings.items():
        save_embedding(store, modality, embedding)
    save_semantic_ids(store, ids)
    torch.manual_seed(0)
    length = settings.protocol.history_length
    save_sasrec(store, build(N_ITEMS, settings.encode_collaborative, length).state_dict())
    save_rivals(store, [])
    return store


def test_every_fused_row_gets_weights_of_what_the_catalog_has(store: Store, settings: Config) -> None:
    log = Recorded()
    fuse.run(settings, store, log)
    found = load_fusion(store.folder("fuse"))
    kinds = {"popularity", "transitions", "text", "text_codes"}
    assert set(found.weights) == {MAIN_MODEL, FUSED_BASELINE, EVIDENCE_MODEL}
    for model, (network, evidence) in found.weights.items():
        assert (network is None) == (model == EVIDENCE_MODEL)
        assert set(evidence) == kinds
        assert np.isfinite(list(evidence.values())).all()
    assert found.bins == settings.fuse.bins
    assert found.rule.history_length == settings.protocol.history_length
    assert set(log.metrics) == {"fusion", "loss", "users"}
    assert log.files == ["weights.json"]
    for before_after in log.metrics["loss"].values():  # type: ignore[attr-defined]
        assert before_after["after"] <= before_after["before"]


def test_the_same_input_gives_the_same_files(store: Store, settings: Config) -> None:
    written = []
    for _ in range(2):
        fuse.run(settings, store, StageRun("fuse", None, shown=False))
        written.append({path.name: path.read_bytes() for path in sorted(store.folder("fuse").iterdir())})
    assert written[0] == written[1]
    assert set(written[0]) == {"weights.json", "transitions.safetensors", "content.safetensors"}


@pytest.mark.parametrize("memory", [1, 1024])
def test_a_rival_that_is_there_gets_weights_and_the_others_keep_theirs(
    store: Store, settings: Config, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "_MIB", 2**14)  # so that with a memory of 1 items are sampled
    settings = settings.model_copy(update={"fuse": settings.fuse.model_copy(update={"memory": memory})})
    fuse.run(settings, store, StageRun("fuse", None, shown=False))
    without = load_fusion(store.folder("fuse")).weights
    rival, name = settings.baselines.content_transformer, content_transformer.NAME
    model = content_transformer.build(load_content(store), rival, settings.protocol.history_length)
    save_rival(store, name, model.state_dict(), [])
    save_rivals(store, [name])
    fuse.run(settings, store, StageRun("fuse", None, shown=False))
    found = dict(load_fusion(store.folder("fuse")).weights)
    assert found.pop(fused_late(name)).network is not None
    assert found == without
    save_rivals(store, [])
