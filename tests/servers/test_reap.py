"""What a kill has left running is closed with a reason; what is alive, or another checkout's, is not touched."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from mmesid import registry, tracking
from mmesid.registry.versions import drop_gathered, registry_lock
from mmesid.servers import deployments, presence, reap
from mmesid.tracking.delivery import is_unreachable
from mmesid.tracking.journal import Journal
from mmesid.tracking.reaping import REASON

DATASET = "toys"
PROJECT = Path(__file__).parents[2]


def run_of(age: float = 0, tags: list[str] | None = None, pending: bool = False) -> Any:
    moment = datetime.now(UTC) - timedelta(seconds=age)
    state = SimpleNamespace(timestamp=moment, is_pending=lambda: pending)
    return SimpleNamespace(id=uuid4(), tags=tags or [], state=state)


def test_a_flow_run_that_holds_its_lock_is_alive(tmp_path: Path) -> None:
    run = run_of(age=1e6, tags=[deployments.tag(tmp_path)])
    with presence.present(tmp_path, str(run.id)):
        assert not reap.is_dead(run, tmp_path, no_worker=True)
        assert presence.is_registered(tmp_path, str(run.id))
    assert not presence.is_registered(tmp_path, str(run.id))


KILLED = """
import os, signal, sys
from pathlib import Path
from mmesid.servers import presence
with presence.present(Path(sys.argv[1]), sys.argv[2]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_flow_run_whose_process_was_killed_is_dead(tmp_path: Path) -> None:
    run = run_of()
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(run.id)], check=False, cwd=PROJECT)
    assert reap.is_dead(run, tmp_path, no_worker=False)
    assert not reap.is_dead(run, tmp_path / "another checkout", no_worker=True)


def test_a_flow_run_that_a_worker_begins_again_is_alive(tmp_path: Path) -> None:
    run = run_of(tags=[deployments.tag(tmp_path)], pending=True)
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(run.id)], check=False, cwd=PROJECT)
    assert not reap.is_dead(run, tmp_path, no_worker=False)
    assert reap.is_dead(run, tmp_path, no_worker=True)


def test_a_flow_run_that_never_began_is_dead_once_no_process_can_come(tmp_path: Path) -> None:
    own = [deployments.tag(tmp_path)]
    assert reap.is_dead(run_of(tags=own), tmp_path, no_worker=True)
    assert not reap.is_dead(run_of(tags=own), tmp_path, no_worker=False)
    assert reap.is_dead(run_of(age=reap.SETTLED + 1, tags=own), tmp_path, no_worker=False)
    assert not reap.is_dead(run_of(age=1e6), tmp_path, no_worker=True)  # started elsewhere, by hand
    assert not reap.is_dead(run_of(age=1e6, tags=["checkout-0123"]), tmp_path, no_worker=True)


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_a_flow_run_that_is_still_importing_is_alive(tmp_path: Path) -> None:
    run = run_of(age=1e6, tags=[deployments.tag(tmp_path)])
    environment = {"PREFECT__FLOW_RUN_ID": str(run.id)}
    with subprocess.Popen([sys.executable, "-c", "input()"], env=environment, stdin=subprocess.PIPE) as process:
        assert not reap.is_dead(run, tmp_path, no_worker=True)
        assert process.stdin is not None
        process.stdin.close()
    assert reap.is_dead(run, tmp_path, no_worker=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reaper")


@pytest.fixture
def mlflow(root: Path) -> Iterator[Any]:
    client = tracking.client(root)
    yield client
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id], max_results=1000):
            client.delete_run(run.info.run_id)


def start(mlflow: Any, root: Path, stage: str, parent: str = "", **tags: str) -> str:
    named = {f"mmesid.{name}": value for name, value in tags.items()}
    given = {**tracking.provenance(root), "mmesid.dataset": DATASET, "mmesid.stage": stage, **named}
    if parent:
        given["mlflow.parentRunId"] = parent
    return str(mlflow.create_run(tracking.experiment_id(mlflow, DATASET, root), tags=given).info.run_id)


def status(mlflow: Any, run: str) -> str:
    return str(mlflow.get_run(run).info.status)


def test_stage_and_execution_without_a_journal_are_closed_and_say_why(root: Path, mlflow: Any) -> None:
    parent = start(mlflow, root, "pipeline", execution="gone")
    stage = start(mlflow, root, "finetune", parent, execution="gone", journal="lost")
    assert len(tracking.close_dead(root)) == 2
    assert (status(mlflow, stage), status(mlflow, parent)) == ("KILLED", "KILLED")
    assert mlflow.get_run(stage).data.tags["mmesid.error"] == REASON
    assert tracking.close_dead(root) == []


def test_a_killed_execution_whose_stages_were_done_is_finished(root: Path, mlflow: Any) -> None:
    parent = start(mlflow, root, "pipeline", execution="half")
    done = start(mlflow, root, "ingest", parent, execution="half", journal="sent")
    mlflow.set_terminated(done, "FINISHED")
    tracking.close_dead(root)
    assert status(mlflow, parent) == "FINISHED"


def test_a_stage_that_writes_its_journal_is_alive_and_so_is_its_execution(root: Path, mlflow: Any) -> None:
    book = Journal(root, "now", f"{DATASET}.finetune", {"dataset": DATASET, "stage": "finetune", "tags": {}})
    identity = book.path.read_text().partition('"id": "')[2].partition('"')[0]
    parent = start(mlflow, root, "pipeline", execution="now")
    stage = start(mlflow, root, "finetune", parent, execution="now", journal=identity)
    assert tracking.close_dead(root) == []
    assert (status(mlflow, stage), status(mlflow, parent)) == ("RUNNING", "RUNNING")
    book.close()
    book.path.unlink()


def test_a_damaged_journal_neither_ends_the_reaper_nor_a_stage_that_is_alive(root: Path, mlflow: Any) -> None:
    head = {"dataset": DATASET, "stage": "finetune", "tags": {}}
    books = [Journal(root, f"{name}", f"{DATASET}.finetune", head) for name in ("live", "dead")]
    runs = []
    for book in books:
        identity = book.path.read_text().partition('"id": "')[2].partition('"')[0]
        runs.append(start(mlflow, root, "finetune", execution=book.path.parent.name, journal=identity))
        with book.path.open("ab") as file:
            file.write(b"\0\0\0\n")
    books[1].close()
    assert len(reap.reap_tracking(root, [])) == 1
    assert [status(mlflow, run) for run in runs] == ["RUNNING", "KILLED"]
    assert books[1].path.with_name(f"{books[1].path.name}.damaged").exists()
    books[0].close()
    books[0].path.unlink()


def test_runs_of_another_checkout_are_left_alone(root: Path, mlflow: Any) -> None:
    other = start(mlflow, root, "finetune", journal="elsewhere", checkout="0123456789ab")
    assert tracking.close_dead(root) == []
    assert registry.close_dead(DATASET, root) == []
    assert status(mlflow, other) == "RUNNING"


def test_a_registration_is_closed_under_the_registrys_lock(root: Path, mlflow: Any) -> None:
    run = start(mlflow, root, "register")
    assert tracking.close_dead(root) == []  # whether it is alive is for the registry to say
    assert status(mlflow, run) == "RUNNING"
    model = mlflow.create_logged_model(tracking.experiment_id(mlflow, DATASET, root), source_run_id=run).model_id
    half = drop_gathered(DATASET, root) / "bundle" / "weights"
    half.parent.mkdir(parents=True)
    half.write_text("half")
    assert len(registry.close_dead(DATASET, root)) == 1
    assert status(mlflow, run) == "KILLED"
    assert mlflow.get_logged_model(model).status == "FAILED"  # it was being uploaded, and never will be whole
    assert not half.exists()
    with registry_lock(DATASET, root):
        pass


def test_a_tracking_server_that_is_down_is_looked_at_next_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"):
        monkeypatch.setenv(name, "0")
    assert reap.reap_tracking(root, [DATASET]) == ["MLflow does not answer: its runs are looked at next time"]


def test_only_what_may_pass_is_worth_a_retry() -> None:
    assert is_unreachable(ConnectionRefusedError())
    assert not is_unreachable(ValueError("a mistake"))
    assert not is_unreachable(None)
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = TimeoutError()
    assert is_unreachable(wrapped)
    amid = RuntimeError("amid")
    amid.__context__ = TimeoutError()
    assert is_unreachable(amid)
    amid.__suppress_context__ = True  # `from None`
    assert not is_unreachable(amid)


@pytest.mark.pipeline
@pytest.mark.parametrize(
    ("state", "end", "reason"), [("Running", "Crashed", reap.REASON), ("Cancelling", "Cancelled", reap.CANCELLED)]
)
def test_prefects_runs_are_closed_with_our_reason(
    state: str, end: str, reason: str, server: None, tmp_path: Path
) -> None:
    from prefect import flow, states
    from prefect.client.orchestration import get_client

    @flow
    def idle() -> None:
        """Nothing."""

    with get_client(sync_client=True) as client:
        dead, other = (
            client.create_flow_run(idle, tags=tags, state=getattr(states, state)()).id
            for tags in ([deployments.tag(tmp_path)], ["checkout-another"])
        )
        lines = reap.reap_flows(tmp_path, no_worker=True)
        assert len(lines) == 1
        found = client.read_flow_run(dead)
        assert found.state is not None
        assert (found.state.name, found.state.message) == (end, reason)
        assert client.read_flow_run(other).state.name == state
        assert reap.reap_flows(tmp_path, no_worker=True) == []


@pytest.mark.pipeline
def test_tasks_of_a_run_that_the_worker_has_closed_are_closed_too(server: None, tmp_path: Path) -> None:
    from prefect import flow, task
    from prefect.client.orchestration import get_client
    from prefect.states import Crashed, Running

    @flow
    def idle() -> None:
        """Nothing."""

    @task
    def step() -> None:
        """Nothing."""

    with get_client(sync_client=True) as client:
        run = client.create_flow_run(idle, state=Crashed()).id
        left = client.create_task_run(step, run, dynamic_key="0", state=Running()).id
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(run)], check=False, cwd=PROJECT)
        assert len(reap.reap_flows(tmp_path)) == 1
        assert client.read_task_run(left).state.is_crashed()
        assert not presence.is_registered(tmp_path, str(run))
        assert reap.reap_flows(tmp_path) == []


@pytest.mark.pipeline
@pytest.mark.parametrize("state", ["AwaitingRetry", "Suspended"])
def test_a_run_that_a_person_has_asked_to_go_on_later_is_left_alone(state: str, server: None, tmp_path: Path) -> None:
    from prefect import flow, states
    from prefect.client.orchestration import get_client

    @flow
    def idle() -> None:
        """Nothing."""

    with get_client(sync_client=True) as client:
        run = client.create_flow_run(idle, tags=[deployments.tag(tmp_path)]).id
        client.set_flow_run_state(run, getattr(states, state)(), force=True)
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(run)], check=False, cwd=PROJECT)
        assert reap.reap_flows(tmp_path, no_worker=True) == []
        found = client.read_flow_run(run).state
        assert found is not None
        assert found.name == state
