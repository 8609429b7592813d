"""A catalogue's pictures in batches and shards: every file once, masks, processes, and a kill that changes nothing."""

import threading
from pathlib import Path

import numpy as np
import pytest

from mmesid.artifacts.shards import Shards
from mmesid.config import VisionModel
from mmesid.encoders import sharded, vision_model
from mmesid.encoders.picture_encoding import MOST_AHEAD, ahead, encode
from mmesid.encoders.sharded import Share
from mmesid.errors import WeightsError
from tests.encoders.test_vision_model import settings
from tests.logs import silent


def look(pictures, chosen: VisionModel, shards: Shards, log: sharded.Log = silent, share: Share = sharded.ALONE):
    load = lambda count: vision_model.load(chosen, count, "cpu")  # noqa: E731
    return encode(pictures, load, chosen.batch_size, "cpu", log, shards, share)


@pytest.fixture
def pictures(toy) -> list[bytes | None]:
    """20 items; the first lacks its picture, the last has the second's."""
    return [*toy.pictures[:19], toy.pictures[1]]


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are counted here: those by which a model is tried at loading are left out."""
    monkeypatch.setattr(vision_model, "try_pictures", lambda model: None)


class Killed(Exception):
    """Stands for the end of the process."""


def test_items_without_picture_are_masked_and_equal_pictures_have_equal_vectors(
    tiny_siglip: Path, tmp_path: Path, pictures
) -> None:
    embedding, made = look(pictures, settings(tiny_siglip), Shards(tmp_path))
    assert embedding.present.tolist() == [False, False, *[True] * 19]
    assert not embedding.matrix[~embedding.present].any()
    np.testing.assert_allclose(np.linalg.norm(embedding.matrix[embedding.present], axis=1), 1, atol=1e-5)
    assert (embedding.matrix[2] == embedding.matrix[20]).all()
    assert (made["model"], made["features"]) == (str(tiny_siglip), "image_features")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_batches_change_no_vector(tiny_siglip: Path, tmp_path: Path, pictures, size: int) -> None:
    found = look(pictures, settings(tiny_siglip, batch_size=size), Shards(tmp_path))[0].matrix
    model = vision_model.load(settings(tiny_siglip), 20, "cpu")
    wanted = [model.vectors(model.prepare([picture]))[0] if picture else np.zeros(16) for picture in pictures]
    np.testing.assert_allclose(found[1:], np.stack(wanted), atol=1e-5)


@pytest.mark.parametrize("finished", [0, 2])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    tiny_siglip: Path, tmp_path: Path, pictures, monkeypatch: pytest.MonkeyPatch, finished: int
) -> None:
    whole = look(pictures, settings(tiny_siglip), Shards(tmp_path / "whole"))[0]
    embed, calls = vision_model.embed, []

    def dying(*arguments):
        if len(calls) == finished:
            raise Killed
        calls.append(1)
        return embed(*arguments)

    monkeypatch.setattr(vision_model, "embed", dying)
    shards = Shards(tmp_path / "killed")
    with pytest.raises(Killed):
        look(pictures, settings(tiny_siglip), shards)
    assert len(list((tmp_path / "killed").rglob("*.safetensors"))) == finished
    monkeypatch.setattr(vision_model, "embed", lambda *arguments: (calls.append(1), embed(*arguments))[1])
    progress: list[float] = []
    resumed = look(pictures, settings(tiny_siglip), shards, lambda metrics, step: progress.append(metrics["progress"]))
    assert resumed[0].matrix.tobytes() == whole.matrix.tobytes()
    assert len(calls) == len(list((tmp_path / "whole").rglob("*.safetensors"))) > finished
    assert progress == sorted(progress)
    assert progress[-1] == 1.0


@pytest.mark.parametrize("change", ["pictures", "model", "features", "batches", "code"])
def test_shards_of_something_else_are_not_taken(tiny_siglip: Path, tmp_path: Path, pictures, change: str) -> None:
    import shutil

    folder = tmp_path / "shards"
    look(pictures, settings(tiny_siglip), Shards(folder))
    (first,) = folder.iterdir()
    other = shutil.copytree(tiny_siglip, tmp_path / "other") if change == "model" else tiny_siglip
    values = {"features": {"features": "mean"}, "batches": {"batch_size": 3}}.get(change, {})
    shards = Shards(folder, "other code" if change == "code" else "")
    look(pictures[1:] if change == "pictures" else pictures, settings(other, **values), shards)
    (second,) = folder.iterdir()
    assert (second == first) == (change == "pictures")  # the first has none, so the different files are the same


def test_processes_divide_the_shards_and_the_first_has_all(
    tiny_siglip: Path, tmp_path: Path, pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other: the first one waits, and meanwhile the second does its part."""
    whole = look(pictures, settings(tiny_siglip), Shards(tmp_path / "whole"))[0]
    embed, calls = vision_model.embed, []
    monkeypatch.setattr(vision_model, "embed", lambda *arguments: (calls.append(1), embed(*arguments))[1])
    shards = Shards(tmp_path / "two")
    second: list[object] = []

    def wait() -> None:
        second.append(look(pictures, settings(tiny_siglip), shards, share=Share(1, 2))[0])

    found = look(pictures, settings(tiny_siglip), shards, share=Share(0, 2, wait=wait))[0]
    assert found.matrix.tobytes() == whole.matrix.tobytes()
    assert second == [None]
    assert len(calls) == len(list((tmp_path / "whole").rglob("*.safetensors"))) > 2


@pytest.mark.parametrize("cores", [1, 3, 100])
def test_batches_are_prepared_ahead_in_order_and_not_all_at_once(cores: int) -> None:
    begun, seen = [], []
    lock = threading.Lock()

    def prepare(batch: list[int]) -> int:
        with lock:
            begun.append(batch[0])
        return batch[0]

    for place in ahead(prepare, ([place] for place in range(50)), cores):
        seen.append(place)
        assert len(begun) <= len(seen) + min(cores, MOST_AHEAD)
    assert seen == list(range(50))


def test_an_error_in_a_thread_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda batch: 1 // batch[0], ([place] for place in (1, 0)), 2))


def test_vectors_that_are_not_finite_are_refused(
    tiny_siglip: Path, tmp_path: Path, pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vision_model, "embed", lambda model, inputs: np.full((4, 3), np.nan, dtype=np.float32))
    with pytest.raises(WeightsError, match=r"transformers\.dtype to float32"):
        look(pictures[1:5], settings(tiny_siglip), Shards(tmp_path))
