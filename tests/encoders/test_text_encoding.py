"""A catalogue's texts in batches and shards: every text once, masks, and a killed run that ends with the same bytes."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mmesid.artifacts.shards import Shards
from mmesid.encoders import sharded, text_model
from mmesid.encoders.sharded import SHARD_WORK, SHARDS
from mmesid.encoders.text_encoding import plan
from mmesid.errors import WeightsError
from tests.encoders.test_text_model import encode, settings
from tests.logs import silent

TEXTS = [
    "an oak lamp",
    "",
    "a red scarf " * 3,
    "花瓶",
    "an oak lamp",
    "blue bottle of rose shampoo",
    "nail polish " * 9,
]


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch a shard."""
    monkeypatch.setattr(sharded, "SHARD_WORK", {"cpu": 1.0})


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are counted here: those by which a model is tried at loading are left out."""
    monkeypatch.setattr(text_model, "try_texts", lambda model: None)


class Killed(Exception):
    """Stands for the end of the process."""


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 100), st.sampled_from([1, 10**10, 10**13]))
@hypothesis_settings(max_examples=60, deadline=None)
def test_a_plan_holds_every_text_once_within_the_budget(lengths: list[int], budget: int, parameters: int) -> None:
    counted = np.array(lengths)
    shards = plan(counted, budget, parameters, "cpu").shards
    batches = [batch for shard in shards for batch in shard]
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * counted[batch].max() <= budget for batch in batches)
    work = [sum(counted[batch].sum() for batch in shard) * parameters for shard in shards]
    assert all(done >= min(SHARD_WORK["cpu"], sum(work) / SHARDS) for done in work[:-1])


def test_items_without_text_are_masked_and_equal_texts_have_equal_vectors(tiny_bert: Path, tmp_path: Path) -> None:
    embedding, made = encode(TEXTS, settings(tiny_bert), "cpu", silent, Shards(tmp_path))
    assert embedding.present.tolist() == [False, True, False, True, True, True, True, True]
    assert embedding.matrix.shape == (8, 16)
    assert not embedding.matrix[~embedding.present].any()
    np.testing.assert_allclose(np.linalg.norm(embedding.matrix[embedding.present], axis=1), 1, atol=1e-5)
    assert (embedding.matrix[1] == embedding.matrix[5]).all()
    assert made["pooling"] == "mean"


@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_batches_change_no_vector(tiny_qwen: Path, tmp_path: Path, budget: int) -> None:
    found = encode(TEXTS, settings(tiny_qwen, batch_tokens=budget), "cpu", silent, Shards(tmp_path))[0].matrix
    model = text_model.load(settings(tiny_qwen), 7, "cpu")
    wanted = [text_model.embed(model, [text])[0] if text else np.zeros(16) for text in TEXTS]
    np.testing.assert_allclose(found[1:], np.stack(wanted), atol=1e-5)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("finished", [0, 1, 3])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: int
) -> None:
    chosen = settings(tiny_bert, batch_tokens=12)
    whole = encode(TEXTS, chosen, "cpu", silent, Shards(tmp_path / "whole"))[0]
    embed, calls = text_model.embed, []

    def dying(*arguments):
        if len(calls) == finished:
            raise Killed
        calls.append(1)
        return embed(*arguments)

    monkeypatch.setattr(text_model, "embed", dying)
    shards = Shards(tmp_path / "killed")
    with pytest.raises(Killed):
        encode(TEXTS, chosen, "cpu", silent, shards)
    assert len(list((tmp_path / "killed").rglob("*.safetensors"))) == finished
    again: list[int] = []

    def counted(*arguments):
        again.append(1)
        return embed(*arguments)

    monkeypatch.setattr(text_model, "embed", counted)
    progress: list[float] = []
    log = lambda metrics, step: progress.append(metrics["progress"])  # noqa: E731
    resumed = encode(TEXTS, chosen, "cpu", log, shards)[0]
    assert resumed.matrix.tobytes() == whole.matrix.tobytes()
    total = len(list((tmp_path / "whole").rglob("*.safetensors")))
    assert len(again) == total - finished
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    shards.drop()
    assert not (tmp_path / "killed").exists()


SLOW = """
import sys, time
from pathlib import Path
from mmesid.artifacts.shards import Shards
from mmesid.encoders import sharded, text_model
from tests.encoders.test_text_encoding import TEXTS, encode, settings, silent
embed = text_model.embed
text_model.embed = lambda *arguments: (time.sleep(0.5), embed(*arguments))[1]
sharded.SHARD_WORK = {'cpu': 1.0}
encode(TEXTS, settings(sys.argv[1], batch_tokens=12), "cpu", silent, Shards(Path(sys.argv[2])))
"""


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("kept", [0, -1], ids=["nothing", "all but a byte"])
def test_a_shard_that_is_cut_short_is_encoded_again(tiny_bert: Path, tmp_path: Path, kept: int) -> None:
    chosen, shards = settings(tiny_bert, batch_tokens=12), Shards(tmp_path)
    whole = encode(TEXTS, chosen, "cpu", silent, shards)[0]
    second = sorted(tmp_path.rglob("*.safetensors"))[1]
    second.write_bytes(second.read_bytes()[:kept])
    assert encode(TEXTS, chosen, "cpu", silent, shards)[0].matrix.tobytes() == whole.matrix.tobytes()


@pytest.mark.pipeline
@pytest.mark.usefixtures("small_shards")
def test_a_process_killed_by_the_system_leaves_whole_shards(tiny_bert: Path, tmp_path: Path) -> None:
    chosen = settings(tiny_bert, batch_tokens=12)
    whole = encode(TEXTS, chosen, "cpu", silent, Shards(tmp_path / "whole"))[0]
    folder = tmp_path / "killed"
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tiny_bert), str(folder)], cwd=Path(__file__).parents[2]
    ) as at:
        until = time.monotonic() + 120
        while not list(folder.rglob("*.safetensors")) and at.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        at.kill()
    left = {path: path.read_bytes() for path in folder.rglob("*.safetensors")}
    assert 0 < len(left) < len(list((tmp_path / "whole").rglob("*.safetensors")))
    resumed = encode(TEXTS, chosen, "cpu", silent, Shards(folder))[0]
    assert resumed.matrix.tobytes() == whole.matrix.tobytes()
    assert {path: path.read_bytes() for path in left} == left


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("change", ["texts", "model", "prompt", "batches", "code"])
def test_shards_of_something_else_are_not_taken(tiny_bert: Path, tiny_qwen: Path, tmp_path: Path, change: str) -> None:
    folder = tmp_path / "shards"
    encode(TEXTS, settings(tiny_bert, batch_tokens=12), "cpu", silent, Shards(folder))
    (first,) = folder.iterdir()
    texts = [*TEXTS[:-1], "something else"] if change == "texts" else TEXTS
    chosen = settings(
        tiny_qwen if change == "model" else tiny_bert,
        prompt="item: " if change == "prompt" else None,
        batch_tokens=24 if change == "batches" else 12,
    )
    shards = Shards(folder, "other code" if change == "code" else "")
    found = encode(texts, chosen, "cpu", silent, shards)[0]
    (second,) = folder.iterdir()
    assert second.name != first.name
    wanted = encode(texts, chosen, "cpu", silent, Shards(tmp_path / "afresh"))[0]
    assert found.matrix.tobytes() == wanted.matrix.tobytes()


def test_vectors_that_are_not_finite_are_refused(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_model, "embed", lambda model, texts: np.full((len(texts), 4), np.nan, dtype=np.float32))
    with pytest.raises(WeightsError, match=r"sentence_transformers\.dtype to float32"):
        encode(TEXTS, settings(tiny_bert), "cpu", silent, Shards(tmp_path))
