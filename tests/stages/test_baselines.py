"""The stage trains what is listed, says what there is, and is done at once where nothing is listed."""

import pytest

from mmesid import config
from mmesid.artifacts.baselines import curves_of, load_rival, load_rivals
from mmesid.artifacts.curves import load_curves
from mmesid.artifacts.encode import save_embedding
from mmesid.artifacts.prepare import save_prepared
from mmesid.artifacts.store import Store
from mmesid.baselines import BASELINES, rivals
from mmesid.baselines.training import Trained
from mmesid.config import Config
from mmesid.errors import ConfigError
from mmesid.stages import baselines
from tests import tiny_world

NAME = "content_transformer"


def settings(*listed: str) -> Config:
    whole = config.load("sample", tiny_world.PROJECT)
    rival = whole.baselines.content_transformer.model_copy(update={"dimension": 16, "hidden": 16, "epochs": 2})
    section = whole.baselines.model_copy(update={"rivals": list(listed), NAME: rival})
    return whole.model_copy(update={"baselines": section})


class Told(list):
    """Keeps what is logged."""

    def __call__(self, metrics: dict[str, float], step: int) -> None:
        self.append((metrics, step))


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store("small", tmp_path)
    save_prepared(store, tiny_world.catalogue())
    save_embedding(store, "text", tiny_world.encoded(0)[0]["text"])
    return store


def test_nothing_listed_writes_that_there_is_none_and_reads_nothing(tmp_path) -> None:
    store, told = Store("bare", tmp_path), Told()
    baselines.run(settings(), store, told)
    (written,) = store.folder("baselines").iterdir()
    assert (written.name, written.read_text(encoding="utf-8")) == ("rivals.json", "[]\n")
    assert not told


def test_what_is_listed_leaves_weights_and_curves_and_has_a_row(store) -> None:
    told, mine = Told(), settings(NAME)
    baselines.run(mine, store, told)
    assert load_rivals(store) == [NAME]
    assert load_rival(store, NAME)["norm.weight"].shape == (16,)
    curves = load_curves(store, curves_of(NAME))
    assert [entry["epoch"] for entry in curves] == [1, 2]
    assert curves[-1]["loss"] > 0
    last, step = told[-1]
    assert set(last) == {f"{NAME}.loss", f"{NAME}.valid_ndcg_at_10", f"{NAME}.epoch", "progress"}
    assert (last["progress"], step) == (1, curves[-1]["step"])
    sequences = tiny_world.catalogue().sequences
    row = BASELINES[NAME](store, mine, sequences)
    assert row is not None
    assert row(sequences.history("test")[:3]).shape == (3, tiny_world.N_ITEMS + 1)
    baselines.run(settings(), store, told)
    assert BASELINES[NAME](store, settings(), sequences) is None, "taken off the list"


def test_the_same_input_gives_the_same_files(store) -> None:
    written = []
    for _ in range(2):
        baselines.run(settings(NAME), store, Told())
        written.append({p.name: p.read_bytes() for p in store.folder("baselines").rglob("*") if p.is_file()})
    assert written[0] == written[1]
    assert set(written[0]) == {"rivals.json", "weights.safetensors", "curves.json"}


def test_no_content_stops_before_training_and_names_the_key(store) -> None:
    (store.folder("encode_content") / "text.safetensors").unlink()
    told = Told()
    with pytest.raises(ConfigError, match=r"baselines\.rivals"):
        baselines.run(settings(NAME), store, told)
    assert not told
    assert not store.folder("baselines").exists()


def test_several_share_the_progress(store, monkeypatch) -> None:
    def train(sequences, content, config, device, log):
        log({"loss": 1.0}, 1)
        log({"loss": 0.5, "progress": 1.0}, 2)
        return Trained({}, [])

    monkeypatch.setitem(rivals.RIVALS, "first", rivals.Rival(train, lambda *given: None))
    monkeypatch.setitem(rivals.RIVALS, "second", rivals.Rival(train, lambda *given: None))
    told = Told()
    baselines.run(settings("first", "second"), store, told)
    assert [metrics.get("progress") for metrics, _ in told] == [None, 0.5, None, 1.0]
    assert [name for metrics, _ in told for name in metrics if name != "progress"] == [
        *["first.loss"] * 2,
        *["second.loss"] * 2,
    ]
    assert load_rivals(store) == ["first", "second"]
