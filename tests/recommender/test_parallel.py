"""Rows are dealt fairly; several processes train and judge as one does, and continue what another number began."""

import json
import multiprocessing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mmesid.artifacts.windows import training_windows
from mmesid.recommender.batching import deal
from tests import ports

from . import worker

# A clean process imports once and forks the workers: a fork of this one could inherit a lock that nobody opens.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["peft", "transformers", worker.__name__])


def train(folder: Path, processes: int, sharding: str = "none", steps: int = 0) -> dict:
    """Run the worker in a number of processes; its curves and weights, where it finished."""
    folder.mkdir(exist_ok=True)
    (port,) = ports.free(1)
    options = processes, port, folder, sharding, steps
    workers = [PROCESSES.Process(target=worker.work, args=(rank, *options)) for rank in range(processes)]
    for process in workers:
        process.start()
    for process in workers:
        process.join(timeout=200)
    assert [process.exitcode for process in workers] == [0] * processes
    if steps:
        return {}
    result = json.loads((folder / "curves.json").read_text())
    assert result["processes"] == processes
    return {"curves": result["curves"], "weights": load_file(folder / "weights.safetensors")}


def assert_equal_runs(found: dict, wanted: dict) -> None:
    """The same losses, the same metrics of every user, the same weights, up to the order of sums."""
    assert [row.keys() for row in found["curves"]] == [row.keys() for row in wanted["curves"]]
    for row, other in zip(found["curves"], wanted["curves"], strict=True):
        assert row == pytest.approx(other, rel=1e-4)
    assert found["weights"].keys() == wanted["weights"].keys()
    for name, tensor in wanted["weights"].items():
        assert torch.allclose(found["weights"][name].float(), tensor.float(), atol=2e-4, rtol=1e-3), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return train(tmp_path_factory.mktemp("alone") / "run", 1)


@pytest.mark.pipeline
@pytest.mark.parametrize("sharding", ["none", "full"])
def test_two_processes_train_and_judge_as_one(sharding, alone, tmp_path):
    assert_equal_runs(train(tmp_path / "run", 2, sharding), alone)


@pytest.mark.pipeline
@pytest.mark.parametrize(("first", "second", "sharding"), [(1, 2, "none"), (2, 1, "full")])
def test_a_run_continues_on_another_number_of_processes(first, second, sharding, alone, tmp_path):
    train(tmp_path / "run", first, sharding, steps=3)
    assert json.loads((tmp_path / "run" / "state.json").read_text())["total"] == 3
    assert_equal_runs(train(tmp_path / "run", second), alone)


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
@pytest.mark.parametrize("batch_tokens", [1, 100, 10_000])
def test_rows_are_dealt_once_and_about_equally(processes, batch_tokens, model, sequences):
    prompt = model.blueprint.prompt
    windows = training_windows(sequences.train(), 8)
    dealt = deal(windows, prompt, 48, batch_tokens, processes)
    assert len(dealt) == processes
    assert len({len(batches) for batches in dealt}) == 1
    found = [window for batches in dealt for batch in batches if batch.counts for row in batch.rows for window in row]
    assert sorted(map(id, found)) == sorted(map(id, windows))
    if batch_tokens == 100:
        assert max(len(batch.rows) for batches in dealt for batch in batches) <= 2  # rows of up to 48 tokens
    rows = [sum(len(batch.rows) for batch in batches if batch.counts) for batches in dealt]
    assert max(rows) - min(rows) <= len(dealt[0][0].rows)


def test_a_process_without_rows_keeps_step(model, sequences):
    windows = training_windows(sequences.train(), 8)[:1]
    dealt = deal(windows, model.blueprint.prompt, 48, 96, 3)
    assert [[batch.counts for batch in batches] for batches in dealt] == [[True], [False], [False]]
