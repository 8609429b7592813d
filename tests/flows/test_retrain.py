"""The flow on a project of two shell stages, under Prefect's test server."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.retrain import BusyError, check_datasets, only_one
from flows.stage import StageError
from mmesid.errors import ConfigError

DVC_YAML = """
stages:
  make:
    matrix: {dataset: [a, b]}
    cmd: cp in.txt made-${item.dataset}.txt
    deps: [in.txt]
    outs: ["made-${item.dataset}.txt"]
  join:
    cmd: test "$(cat made-a.txt)" != bad || { echo "made-a.txt is bad" >&2; exit 3; }; cat made-*.txt > joined.txt
    deps: [made-a.txt, made-b.txt]
    outs: [joined.txt]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "in.txt").write_text("good\n")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--no-scm"], cwd=tmp_path, check=True)
    return tmp_path


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the flow registers and promotes: a project of shell stages has no model."""
    from mmesid import registry
    from mmesid.registry import Record

    done: list[tuple[str, str]] = []

    def register(dataset: str, root: Path) -> str:
        done.append(("register", dataset))
        return "1"

    def promote(dataset: str, root: Path) -> Record:
        done.append(("promote", dataset))
        return Record(dataset, "promotion", "1", None, dataset == "a", "2030-01-01 00:00:00.000", [])

    monkeypatch.setattr(registry, "register", register)
    monkeypatch.setattr(registry, "promote", promote)
    return done


def task_names() -> list[str]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        runs = sorted(client.read_task_runs(), key=lambda run: run.expected_start_time)
        newest = runs[-1].flow_run_id
        return [run.name for run in runs if run.flow_run_id == newest]


@pytest.mark.pipeline
def test_what_is_out_of_date_runs_once_then_models_are_promoted(
    server: None, project: Path, published: list[tuple[str, str]]
) -> None:
    from flows.retrain import retrain

    assert retrain(root=project) == {"a": True, "b": False}
    assert (project / "joined.txt").read_text() == "good\ngood\n"
    assert published == [("register", "a"), ("register", "b"), ("promote", "a"), ("promote", "b")]
    assert {"make@a", "make@b", "join"} <= set(task_names())

    published.clear()
    assert retrain(["b"], promotion=False, root=project) == {"b": None}
    assert published == [("register", "b")]
    assert not {"make@a", "make@b", "join"} & set(task_names())


@pytest.mark.pipeline
def test_a_failed_stage_fails_the_flow_in_its_own_words(
    server: None, project: Path, published: list[tuple[str, str]]
) -> None:
    from flows.retrain import retrain

    (project / "in.txt").write_text("bad\n")
    with pytest.raises(StageError, match=r"made-a\.txt is bad"):
        retrain(root=project, parallel=2)
    assert published == []


def test_a_second_retrain_is_refused_at_once(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(BusyError, match="another retrain runs in"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


def test_an_unknown_dataset_is_named() -> None:
    graph: Any = {"ingest@sample": []}
    with pytest.raises(ConfigError, match="beuaty: no such dataset among sample"):
        check_datasets(["beuaty"], graph)
