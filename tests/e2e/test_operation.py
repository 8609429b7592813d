"""A night and a morning: the schedule retrains by itself, a server is killed, and people look at the pages."""

import inspect
import json
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Error, expect

from flows.retrain import retrain
from mmesid.servers.reap import REASON
from mmesid.tracking import journal
from tests import tiny
from tests.e2e import pages
from tests.e2e.browser import Window
from tests.e2e.conftest import COMMIT, Storage
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
MODEL = f"mme-sid-{tiny.NAME}"
EVALUATE, FINETUNE = f"evaluate@{tiny.NAME}", f"finetune@{tiny.NAME}"
LONGER = {"finetune": {"epochs": 16, "patience": 16}}  # long enough for a server to die in its midst
OUTAGE = 15  # seconds
OUTSIDE = "http://example.invalid/"
PROBE = f"GET {OUTSIDE} HTTP/1.1"


def test_what_leaves_this_machine_would_be_noticed(window: Window) -> None:
    with pytest.raises(Error):
        window.page.goto(OUTSIDE)
    assert PROBE in window.trap.heard


@pytest.fixture(scope="module")
def first(stack: Stack) -> str:
    """The flow run that the schedule alone has started; it is over."""
    identity = stack.scheduled_run()
    assert stack.end_of(identity).startswith("Completed")
    return identity


def test_the_schedule_retrains_what_has_changed_by_itself(stack: Stack, first: str) -> None:
    tasks = stack.task_runs(first)
    assert {EVALUATE, "report"} < set(tasks)
    assert FINETUNE not in tasks
    assert set(tasks.values()) == {"COMPLETED"}


def test_its_page_draws_the_graph_of_its_stages(stack: Stack, window: Window, first: str) -> None:
    names = pages.run(window.page, stack.prefect, first)
    assert set(names) == set(stack.task_runs(first))
    assert pages.drawn(window.page) > 1000
    expect(window.page.get_by_text("auto-scheduled").first).to_be_visible()
    expect(window.page.get_by_text("Completed").first).to_be_visible()
    listed = pages.tab(window.page, "Task Runs", EVALUATE)
    assert all(name in listed for name in names)


def test_its_artifacts_tell_metrics_and_decision(stack: Stack, window: Window, first: str) -> None:
    made = stack.artifacts(first)
    pages.run(window.page, stack.prefect, first)
    listed = pages.tab(window.page, "Artifacts", f"metrics-{tiny.NAME}")
    assert "What this retrain did" in listed
    decision = made[f"decision-{tiny.NAME}"]
    told = pages.artifact(window.page, stack.prefect, decision, "there is no champion", "decision")
    assert "against sasrec" in told
    told = pages.artifact(window.page, stack.prefect, made["retrain"], "Decisions", "artifacts")
    assert f"Ran configure@{tiny.NAME}, {EVALUATE}, report." in told
    assert "MME-SID" in told
    link = window.page.get_by_role("link", name=f"registered model of {tiny.NAME}")
    assert link.get_attribute("href") == f"{stack.mlflow}/#/models/{MODEL}"


def test_the_form_offers_every_parameter_of_a_retrain(stack: Stack, window: Window) -> None:
    shown, fields = pages.form(window.page, stack.prefect, stack.deployment()["id"])
    assert all(f"{name} (Optional)" in shown for name in inspect.signature(retrain.fn).parameters)
    assert "run every stage, changed or not." in shown
    assert tiny.NAME in fields


class Morning(NamedTuple):
    """What came after the first retrain."""

    broken: str  # the flow run in whose midst a server was killed
    after: str  # the one that the schedule started then


@pytest.fixture(scope="module")
def morning(stack: Stack, storage: Storage, window: Window, first: str) -> Morning:
    """A champion is set by hand, and a retrain is asked for in the form. In its midst MLflow's server, or Postgres
    under both servers, is killed and started again; then the schedule goes on.
    """
    stack.tracking.set_registered_model_alias(MODEL, "champion", "1")
    tiny.override(stack.root, LONGER)
    broken = pages.submit(window.page, stack.prefect, stack.deployment()["id"])
    stack.until(lambda: len(losses(stack.root, broken)) > 3, 300)
    if storage.postgres:
        storage.postgres.kill()
        time.sleep(OUTAGE)
        storage.postgres.start()
    else:
        stack.kill("mlflow")
    stack.until(lambda: not stack.is_up() or stack.is_over(broken), 300)
    if stack.is_up():
        stack.schedule(True)
    else:
        stack.is_gone()
        assert "has ended with status" in stack.said()
        stack.up()
    after = stack.scheduled_run()
    assert stack.end_of(after).startswith("Completed")
    return Morning(broken, after)


def losses(root: Path, flow_run: str) -> dict[int, float]:
    """Step -> loss, as fine-tuning has logged it on disk in a flow run."""
    books = (journal.folder(root) / f"retrain-{flow_run[:8]}").glob(f"{tiny.NAME}.finetune*")
    entries = [entry for path in books if path.is_file() for entry in journal.read(path)[0]]
    return {entry["step"]: entry["metrics"]["loss"] for entry in entries if "loss" in entry.get("metrics", {})}


def test_a_retrain_whose_server_is_killed_is_closed_and_continued(stack: Stack, morning: Morning) -> None:
    end = stack.end_of(morning.broken)
    assert end == f"Crashed: {REASON}" or end.startswith(("Completed", "Failed"))
    assert stack.flow_runs("RUNNING", "PENDING", "CANCELLING") == []
    assert [run.info.run_name for run in stack.runs("attributes.status = 'RUNNING'")] == []
    before, after = losses(stack.root, morning.broken), losses(stack.root, morning.after)
    assert not after or min(after) > min(before)  # it went on where it was


def test_no_metric_is_lost(stack: Stack, morning: Morning) -> None:
    assert journal.pending(stack.root) == []
    known: dict[int, float] = {}
    for run in stack.runs("tags.`mmesid.stage` = 'finetune'"):
        history = stack.tracking.get_metric_history(run.info.run_id, "loss")
        known |= {metric.step: metric.value for metric in history}
    written = {**losses(stack.root, morning.broken), **losses(stack.root, morning.after)}
    curve = stack.root / "data" / tiny.NAME / "finetune" / "curves.json"
    assert known == pytest.approx(written)
    assert set(known) == {entry["step"] for entry in json.loads(curve.read_text()) if "loss" in entry}


def test_no_model_is_registered_twice(stack: Stack, morning: Morning) -> None:
    digests = [version.tags["mmesid.model"] for version in stack.versions(MODEL)]
    assert len(set(digests)) == len(digests) == 2


def test_a_champion_set_by_hand_is_the_one_to_beat(stack: Stack, morning: Morning) -> None:
    told = stack.run("mmesid", "history", tiny.NAME)
    assert "champion is version 1" in " ".join(told.split())
    assert stack.aliases(MODEL)["challenger"] == "2"


def test_the_registry_shows_who_is_champion_and_who_challenges(stack: Stack, window: Window, morning: Morning) -> None:
    rows = pages.registry(window.page, stack.mlflow, MODEL)
    assert list(rows) == ["Version 2", "Version 1"]
    for alias, version in stack.aliases(MODEL).items():
        assert f"@ {alias}" in rows[f"Version {version}"]
    assert "mmesid.decision" in rows["Version 2"]


def test_retrains_stand_beside_each_other_in_mlflow(stack: Stack, window: Window, first: str, morning: Morning) -> None:
    executions = stack.runs("tags.`mmesid.stage` = 'pipeline'")
    chosen = [run for run in executions if "test.mme_sid.ndcg_at_10" in run.data.metrics]
    assert len(chosen) == 2
    shown = pages.compare(window.page, stack.mlflow, chosen[0].info.experiment_id, [run.info.run_id for run in chosen])
    assert all(run.info.run_name in shown for run in chosen)
    assert set(chosen[0].data.metrics) <= set(shown.splitlines())


def test_another_clone_fetches_the_results_and_runs_nothing(
    stack: Stack, storage: Storage, morning: Morning, tmp_path: Path
) -> None:
    stack.run("mmesid", "remote", *storage.remote)
    stack.run("dvc", "push")
    stack.run("git", "add", ".")
    stack.run("git", *COMMIT)
    stack.run("git", "clone", "--quiet", str(stack.root), str(tmp_path / "clone"))
    stack.run("dvc", "pull", root=tmp_path / "clone")
    said = stack.run("dvc", "repro", root=tmp_path / "clone")
    assert "Data and pipelines are up to date." in said
    assert "Running stage" not in said
    assert tiny.results(tmp_path / "clone") == tiny.results(stack.root)


def test_no_secret_stands_in_a_log(stack: Stack, storage: Storage, morning: Morning) -> None:
    paths = [*(stack.root / "mlruns").rglob("*.log*"), *(stack.root / ".prefect").glob("*.yaml")]
    told = stack.said() + "".join(path.read_text(encoding="utf-8", errors="replace") for path in paths)
    assert "Uvicorn" in told
    assert not [secret for secret in storage.secrets if secret in told]


def test_nothing_has_left_this_machine(window: Window, morning: Morning) -> None:
    assert set(window.trap.heard) <= {PROBE}  # which Chromium repeats for a while where nobody answers
