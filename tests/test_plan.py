"""What `dvc repro` would do and why: from values, and from DVC itself with outputs that look finished."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from mmesid import tracking
from mmesid.commands import cli, screen
from mmesid.commands import plan as planning
from mmesid.commands.plan import FOLLOW, RESTORE, RUN, RUNNING, UP_TO_DATE
from mmesid.errors import ConfigError, PipelineError, TrackingError
from mmesid.pipeline import graph as pipeline
from mmesid.pipeline.graph import Change, Stage
from mmesid.tracking import Recorded
from tests import tiny

MODIFIED = Change(pipeline.DEPENDENCY, "code", "modified")


def stage(name: str, upstream: list[str], *changes: Change, restorable: bool = False) -> Stage:
    return Stage(name, upstream, list(changes), restorable, 1000)


def states(*stages: Stage) -> dict[str, str]:
    return {planned.stage: planned.state for planned in planning.decide(stages, {})}


def test_what_stands_below_a_stage_that_runs_may_run() -> None:
    found = states(stage("a", []), stage("b", ["a"], MODIFIED), stage("c", ["b"]), stage("d", ["a"]))
    assert found == {"a": UP_TO_DATE, "b": RUN, "c": FOLLOW, "d": UP_TO_DATE}


def test_a_stage_with_a_reason_of_its_own_would_run_even_below_another() -> None:
    chain = [stage("a", [], MODIFIED), stage("b", ["a"], Change(pipeline.PARAMETER, "b.epochs", "1 → 2"))]
    (_, below) = planning.decide(chain, {})
    assert (below.state, below.reasons) == (RUN, ["b.epochs: 1 → 2", "after a"])


def test_what_differs_because_of_a_stage_above_is_no_reason_of_its_own() -> None:
    gone = Change(pipeline.OUTPUT, "data/a", "missing")
    of_a = Change(pipeline.DEPENDENCY, "data/a", "missing", ("a",))
    found = planning.decide([stage("a", [], gone), stage("b", ["a"], of_a)], {})
    assert [(planned.state, planned.reasons) for planned in found] == [
        (RUN, ["its output is missing"]),
        (FOLLOW, ["after a"]),
    ]
    found = planning.decide([stage("a", [], gone, restorable=True), stage("b", ["a"], of_a)], {})
    assert [planned.state for planned in found] == [RESTORE, UP_TO_DATE]


def test_a_stage_that_another_process_runs_is_said_to_run() -> None:
    assert states(stage("a", [], Change(pipeline.RUNNING)), stage("b", ["a"])) == {"a": RUNNING, "b": FOLLOW}


def test_only_the_nearest_stage_above_is_named() -> None:
    chain = [stage("a", [], MODIFIED), stage("b", ["a"]), stage("c", ["a", "b"])]
    assert planning.decide(chain, {})[-1].reasons == ["after b"]


def test_changed_code_is_one_reason_however_many_files_it_has() -> None:
    files = [Change(pipeline.DEPENDENCY, f"src/mmesid/data/{name}.py", "modified") for name in "abcdef"]
    (planned,) = planning.decide([stage("a", [], MODIFIED, *files)], {})
    listed = "data/a.py, data/b.py, data/c.py, data/d.py and 2 more"
    assert planned.reasons == ["code is modified", f"its code: {listed}"]


def test_unknown_times_and_sizes_are_said_and_not_counted() -> None:
    planned = planning.decide([stage("a", [], MODIFIED), stage("b", ["a"])._replace(size=None)], {"a": 130.0})
    plan = planning.Plan(planned, "a remark")
    said = planning.summary(plan)
    assert said.startswith("2 of 2 stages would run or may run; about 2 min 10 s without the 1 that have no record of")
    assert "about 1.0 kB without the 1 that" in said
    assert said.endswith("\na remark")
    total = json.loads(planning.to_json(plan))["total"]
    assert total == {"stages": 2, "seconds": 130.0, "bytes": 1000, "without_seconds": 1, "without_bytes": 1}
    assert [row[2:] for row in planning.table(plan)[2]] == [["2 min 10 s", "1.0 kB"], ["no record", "no record"]]


def test_without_any_record_nothing_is_guessed() -> None:
    plan = planning.Plan(planning.decide([stage("a", [], Change(pipeline.NEVER_RAN))._replace(size=None)], {}))
    assert "; no record of their time, no record of their size." in planning.summary(plan)
    assert json.loads(planning.to_json(plan))["total"]["seconds"] is None


def test_nothing_to_do_is_one_sentence() -> None:
    assert planning.summary(planning.Plan(planning.decide([stage("a", [])], {}))) == "everything is up to date"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "no record"), (0.2, "< 1 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (3840, "1 h 4 min")],
)
def test_durations_are_read_at_a_glance(seconds: float | None, text: str) -> None:
    assert screen.duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(None, "no record"), (12, "12 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB")])
def test_sizes_are_read_at_a_glance(count: float | None, text: str) -> None:
    assert screen.size(count) == text


def test_the_newest_finished_run_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(status: str, seconds: float | None, stage: str = "finetune") -> Recorded:
        return Recorded("id", "a", stage, "x", status, 0, seconds, {}, {}, "", "")

    runs = [run("RUNNING", None), run("KILLED", 1.0), run("FINISHED", 90.0), run("FINISHED", 70.0)]
    runs += [run("FINISHED", 900.0, "pipeline"), run("FINISHED", 3.0, "register")]
    monkeypatch.setattr(tracking, "recorded", lambda datasets, root: runs)
    assert planning.durations(["a"]) == ({"finetune@a": 90.0}, "")


def test_an_mlflow_that_is_down_costs_the_times_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(datasets: object, root: object) -> list[Recorded]:
        raise TrackingError("MLflow does not answer")

    monkeypatch.setattr(tracking, "recorded", down)
    assert planning.durations(["a"]) == ({}, "no durations: MLflow does not answer")


def test_a_pipeline_that_cannot_be_read_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="DVC cannot read the pipeline"):
        pipeline.read(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of three stages of two datasets, of which each copies a file; it has run."""
    root = tmp_path_factory.mktemp("plan") / "project"
    root.mkdir()
    copy = "cat ${item.dataset}.txt > first/${item.dataset}"
    stages = {
        "first": {
            "matrix": {"dataset": "${datasets}"},
            "cmd": f"mkdir -p first && {copy}",
            "deps": ["${item.dataset}.txt"],
            "params": ["first"],
            "outs": ["first/${item.dataset}"],
        },
        "second": {
            "matrix": {"dataset": "${datasets}"},
            "cmd": "mkdir -p second && cp first/${item.dataset} second/${item.dataset}",
            "deps": ["first/${item.dataset}"],
            "outs": ["second/${item.dataset}"],
        },
        "report": {"cmd": "cat second/* > report", "deps": ["second"], "outs": ["report"]},
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    (root / "params.yaml").write_text("datasets: [a, b]\nfirst: {epochs: 12, rate: {low: 1}}\n", encoding="utf-8")
    for name in "ab":
        (root / f"{name}.txt").write_text(name * 10, encoding="utf-8")
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"], ["dvc", "repro"]):
        done = tiny.run(root, *command)
        assert done.returncode == 0, done.stdout
    return root


@pytest.fixture
def checkout(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow leaves the last one there
    root = Path(shutil.copytree(finished, tmp_path / "checkout", symlinks=True))
    monkeypatch.chdir(root)
    return root


def snapshot(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_relative_to(root / ".dvc" / "tmp"))
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def planned(root: Path, *datasets: str) -> dict[str, tuple[str, list[str]]]:
    """State and reasons of each stage that is not up to date; asking must change no file."""
    before = snapshot(root)
    found = planning.plan(datasets, root)
    assert snapshot(root) == before
    return {stage.stage: (stage.state, stage.reasons) for stage in found.stages if stage.state != UP_TO_DATE}


@pytest.mark.pipeline
def test_each_kind_of_change_is_named(checkout: Path) -> None:
    assert planned(checkout) == {}
    (checkout / "params.yaml").write_text("datasets: [a, b]\nfirst: {epochs: 14, rate: {low: 1, high: 2}}\n")
    changed = ["first.epochs: 12 → 14", "first.rate.high: not there → 2"]
    assert planned(checkout) == {
        "first@a": (RUN, changed),
        "first@b": (RUN, changed),
        "second@a": (FOLLOW, ["after first@a"]),
        "second@b": (FOLLOW, ["after first@b"]),
        "report": (FOLLOW, ["after second@a, second@b"]),
    }


@pytest.mark.pipeline
def test_changed_input_and_command_touch_their_own_stages(checkout: Path) -> None:
    (checkout / "a.txt").write_text("new")
    assert planned(checkout, "b") == {}
    assert planned(checkout)["first@a"] == (RUN, ["a.txt is modified"])
    text = (checkout / "dvc.yaml").read_text().replace("cat second/* > report", "cat second/a > report")
    (checkout / "dvc.yaml").write_text(text)
    assert planned(checkout, "b") == {"report": (RUN, ["its command is now `cat second/a > report`"])}


@pytest.mark.pipeline
def test_a_lost_output_comes_back_from_the_cache_and_redoes_nothing(checkout: Path) -> None:
    (checkout / "second" / "a").unlink()
    assert planned(checkout) == {"second@a": (RESTORE, ["its output is missing"])}
    assert "Running stage" not in tiny.run(checkout, "dvc", "repro").stdout


@pytest.mark.pipeline
def test_a_new_dataset_never_ran(checkout: Path) -> None:
    (checkout / "params.yaml").write_text("datasets: [a, b, c]\nfirst: {epochs: 12, rate: {low: 1}}\n")
    (checkout / "c.txt").write_text("c")
    assert planned(checkout)["first@c"] == (RUN, ["never ran"])
    assert planned(checkout)["second@c"] == (RUN, ["never ran", "after first@c"])


@pytest.mark.pipeline
def test_the_command_prints_a_table_or_json_and_refuses_unknown_datasets(checkout: Path) -> None:
    (checkout / "a.txt").write_text("new")
    shown = CliRunner().invoke(cli.app, ["plan"])
    assert shown.exit_code == 0, shown.output
    assert "a.txt is modified" in shown.output
    assert "no record" in shown.output
    value = json.loads(CliRunner().invoke(cli.app, ["plan", "--datasets", "a", "--json"]).stdout)
    assert [found["stage"] for found in value["stages"]] == ["first@a", "second@a", "report"]
    with pytest.raises(ConfigError, match=r"nope: no such dataset among a, b; `datasets` in params\.yaml"):
        planning.plan(["nope"], checkout)


@pytest.mark.pipeline
def test_while_another_dvc_works_the_plan_says_so(checkout: Path) -> None:
    from dvc.repo import Repo

    with Repo(str(checkout)) as repo, repo.lock, pytest.raises(PipelineError, match="another dvc works here"):
        pipeline.read(checkout)
