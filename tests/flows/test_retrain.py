"""The flow on a project of two shell stages, under Prefect's test server."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.retrain import BusyError, ended_with_the_flow, only_one
from mmesid.errors import ArtifactError, ConfigError, PipelineError
from mmesid.pipeline.stage import StageError

PROJECT = Path(__file__).parents[2]
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


@pytest.fixture(autouse=True)
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """What run_stages leaves in the environment goes with the test."""
    for name in ("MMESID_EXECUTION", "MMESID_FLOW_RUN_ID"):
        monkeypatch.setenv(name, "before")


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


def artifact(key: str) -> str:
    from prefect.artifacts import Artifact

    found = Artifact.get(key)
    assert found is not None
    return str(found.data)


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
    assert "Nothing had changed: no stage ran" in artifact("retrain")

    (project / "in.txt").write_text("better\n")
    retrain(promotion=False, root=project)
    assert {"make@a", "make@b", "join"} <= set(task_names())
    assert "Ran make@a, make@b, join." in artifact("retrain")
    assert "mmesid.flow_run" in artifact("retrain")


@pytest.mark.pipeline
def test_a_failed_stage_fails_the_flow_in_its_own_words(
    server: None, project: Path, published: list[tuple[str, str]]
) -> None:
    from flows.retrain import retrain

    (project / "in.txt").write_text("bad\n")
    with pytest.raises(StageError, match=r"made-a\.txt is bad"):
        retrain(root=project, parallel=2)
    assert published == []


@pytest.mark.pipeline
def test_a_model_is_not_registered_from_outputs_of_several_runs(
    server: None, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.retrain import retrain
    from mmesid import registry

    (project / "dvc.yaml").write_text(re.sub(r"made-(\S+?)\.txt", r"data/\1/made.txt", DVC_YAML))
    for dataset in "ab":
        (project / "data" / dataset).mkdir(parents=True)
    registered: list[str] = []

    def register(dataset: str, root: Path) -> str:
        registered.append(dataset)
        (root / "data" / "b" / "made.txt").write_text("by another run\n")
        return "1"

    monkeypatch.setattr(registry, "register", register)
    with pytest.raises(PipelineError, match=r"what lies in data/b is not of one run \(make@b: data/b/made.txt"):
        retrain(promotion=False, root=project)
    assert registered == ["a"]


@pytest.mark.pipeline
def test_a_tracking_server_that_is_down_is_tried_again_and_a_mistake_is_not(
    server: None, project: Path, published: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import flow

    from flows.retrain import register
    from mmesid import registry

    answers: list[Exception] = [ConnectionRefusedError("down"), ValueError("a mistake")]
    tried: list[str] = []

    def failing(dataset: str, root: Path) -> str:
        tried.append(dataset)
        raise answers[min(len(tried), 2) - 1]

    monkeypatch.setattr(registry, "register", failing)

    @flow
    def registering() -> None:
        """The task alone."""
        register.with_options(retry_delay_seconds=0)("a", project)

    with pytest.raises(ValueError, match="a mistake"):
        registering()
    assert tried == ["a", "a"]


def test_a_stage_that_failed_is_not_tried_again() -> None:
    from flows.retrain import run_stage

    assert run_stage.retries == 0


@pytest.mark.parametrize("flow", ["decisions", "metrics"])
def test_an_artifact_has_a_name_that_prefect_takes(flow: str) -> None:
    from flows.pages import slug

    assert slug(f"{flow}-Toys_full@2") == f"{flow}-toys-full-2"


def test_lines_of_progress_move_a_bar_and_all_lines_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import pages

    shown: list[tuple[float, str]] = []

    def create(percent: float, key: str, description: str) -> str:
        assert key == "progress-finetune-toys"
        shown.append((percent, description))
        return "id"

    def update(artifact: str, percent: float, description: str) -> None:
        shown.append((percent, description))

    monkeypatch.setattr(pages, "create_progress_artifact", create)
    monkeypatch.setattr(pages, "update_progress_artifact", update)
    lines: list[str] = []
    progress = pages.Progress("finetune@toys", lines.append)
    for line in ("epoch 1", "finetune: 37%, loss 5.1, 1,830 targets/s, 2:05 left", "finetune: 74%, loss 4.0"):
        progress(line)
    progress.done()
    assert len(lines) == 3
    assert shown == [
        (37.0, "finetune@toys: loss 5.1, 1,830 targets/s, 2:05 left"),
        (74.0, "finetune@toys: loss 4.0"),
        (100.0, "finetune@toys: done"),
    ]


def test_a_bar_that_cannot_be_shown_does_not_end_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import pages

    def down(*given: object, **named: object) -> None:
        raise ConnectionError("the server is gone")

    monkeypatch.setattr(pages, "create_progress_artifact", down)
    lines: list[str] = []
    pages.Progress("finetune@toys", lines.append)("finetune: 37%, loss 5.1")
    assert lines == ["finetune: 37%, loss 5.1", "the progress cannot be shown (ConnectionError)"]


@pytest.mark.parametrize("parallel", [0, -1, 65])
def test_a_number_of_stages_out_of_range_is_refused_with_the_range(
    parallel: int, monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    from flows import retrain

    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "argv", ["retrain", "--parallel", str(parallel)])
    with pytest.raises(SystemExit, match=r"Error: parallel: -?\d+ stages .* from 1 to 64"):
        retrain.main()
    with pytest.raises(ConfigError, match="from 1 to 64"):
        retrain.retrain.validate_parameters({"parallel": parallel})


def test_a_folder_that_is_no_project_stays_as_it_was(tmp_path: Path) -> None:
    """The form of Prefect's page takes any folder as `root`."""
    from flows import retrain

    with pytest.raises(ConfigError, match=r"root: .*nowhere has no dvc\.yaml"):
        retrain.retrain.fn(root=tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())


def test_a_flow_run_that_is_cancelled_ends_its_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []
    monkeypatch.setattr("flows.retrain.end_stages", lambda: ended.append(True))
    with ended_with_the_flow():
        pass
    assert not ended
    with pytest.raises(KeyboardInterrupt), ended_with_the_flow():
        raise KeyboardInterrupt
    assert ended


def test_a_second_retrain_is_refused_at_once(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(BusyError, match="another retrain runs in"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


@pytest.mark.pipeline
def test_a_night_without_work_does_not_pay_for_torch() -> None:
    code = "import sys, flows.retrain, mmesid.serving, mmesid.registry; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)


@pytest.mark.pipeline
def test_prefect_loads_the_flow_that_its_file_names(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.flows import load_flow_from_entrypoint

    monkeypatch.chdir(PROJECT)
    entrypoint = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"][0]["entrypoint"]
    assert load_flow_from_entrypoint(entrypoint).name == "retrain"


def test_metrics_that_lack_a_model_or_a_column_are_shown_as_far_as_they_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import pages

    monkeypatch.setattr(pages, "create_table_artifact", lambda *rows, **about: None)
    path = tmp_path / "reports" / "toys" / "metrics.json"
    assert pages.show_metrics("toys", tmp_path) == ""
    path.parent.mkdir(parents=True)
    for content, shown in (
        ({"test": {"mme_sid": {"ndcg_at_10": 0.25}}}, "| MME-SID |  | 0.25 |  |  |  |"),
        ({"test": {"unknown": {"ndcg_at_10": 0.25}}}, ""),
        ({}, ""),
    ):
        path.write_text(json.dumps(content), encoding="utf-8")
        assert pages.show_metrics("toys", tmp_path).rpartition("\n")[2] == shown
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactError, match="damaged"):
        pages.show_metrics("toys", tmp_path)
