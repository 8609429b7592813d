"""Runs that a kill has left behind are closed with a reason, in MLflow and in Prefect; none that is alive is touched.

`mmesid reap` does it, and so does every retrain and `mmesid up` at its start.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmesid import config as configuration
from mmesid import registry, tracking
from mmesid.errors import MmesidError, ServiceError
from mmesid.servers import deployments, presence, processes

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

REASON = "the process of this run is gone (killed, or the machine went down); mmesid closed the run"
SETTLED = 120.0  # seconds after which a run that a worker has taken must have a process


def reap(root: Path, datasets: Sequence[str], alone: bool = False, but: str = "") -> list[str]:
    """Close what is dead in both.

    Args:
        root: the project's folder.
        datasets: whose registrations are looked at.
        alone: no worker of this checkout is running, so that a run without a process has none to come.
        but: a flow run that is left as it is.

    Returns:
        A line for each run that was closed.
    """
    return [*reap_flows(root, alone, but), *reap_tracking(root, datasets)]


def reap_tracking(root: Path, datasets: Sequence[str]) -> list[str]:
    """MLflow's part. A server that is down is one line, and no error: the next time is soon enough."""
    try:
        lines = tracking.close_dead(root)
        for dataset in datasets:
            lines += registry.close_dead(dataset, root)
    except Exception as error:
        if not tracking.is_unreachable(error):
            raise
        return ["MLflow does not answer: its runs are looked at next time"]
    return lines


def reap_flows(root: Path, alone: bool = False, but: str = "") -> list[str]:
    """Prefect's part: flow runs that are not over, and whose process is gone, become `Crashed`, their tasks too.

    A worker that sees its flow die closes the run itself, and leaves the tasks of it running.

    Raises:
        ServiceError: Prefect's server does not answer.
    """
    from prefect.client.orchestration import get_client
    from prefect.states import Crashed

    lines = []
    with get_client(sync_client=True) as client:
        if problem := client.api_healthcheck():
            raise ServiceError(f"Prefect's server at {client.api_url} does not answer ({type(problem).__name__})")
        for run in _open(client, root):
            if str(run.id) == but or not is_dead(run, root, alone):
                continue
            if not run.state.is_final():
                client.set_flow_run_state(run.id, Crashed(message=REASON), force=True)
                lines.append(f"Prefect flow run {run.name}: {run.state.name} before, Crashed now")
            for task in _unfinished_tasks(client, run.id):
                client.set_task_run_state(task.id, Crashed(message=REASON), force=True)
                lines.append(f"Prefect task {task.name} of {run.name}: Crashed now")
            presence.forget(root, str(run.id))
    return lines


def is_dead(run: Any, root: Path, alone: bool) -> bool:
    """Whether an unfinished flow run is this checkout's, and its process is gone.

    One that has begun holds a lock. One that has not was given out by a worker, carries the checkout's tag, and has a
    process with its id in the environment, or will have within SETTLED seconds.
    """
    identity = str(run.id)
    if presence.is_known(root, identity):
        return not presence.is_alive(root, identity)
    if deployments.tag(root) not in run.tags or processes.marked({"PREFECT__FLOW_RUN_ID": identity}):
        return False
    return alone or (datetime.now(UTC) - run.state.timestamp).total_seconds() > SETTLED


def _open(client: "SyncPrefectClient", root: Path) -> list[Any]:
    """Flow runs that are not over, and those of this checkout that have not said goodbye, whatever their state."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterState
    from prefect.client.schemas.filters import FlowRunFilterStateType as StateTypes
    from prefect.client.schemas.objects import StateType

    kinds = StateTypes(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
    wanted = [FlowRunFilter(state=FlowRunFilterState(type=kinds))]
    if known := presence.known(root):
        wanted.append(FlowRunFilter(id=FlowRunFilterId(any_=known)))
    return list({run.id: run for each in wanted for run in client.read_flow_runs(flow_run_filter=each)}.values())


def _unfinished_tasks(client: "SyncPrefectClient", flow_run: Any) -> Iterator[Any]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run])))
    return (task for task in tasks if task.state is None or not task.state.is_final())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="mmesid reap", description=__doc__)
    parser.add_argument("--alone", action="store_true", help="no worker of this checkout is running")
    given = parser.parse_args()
    root = Path().absolute()
    try:
        lines = reap(root, configuration.datasets(root), given.alone)
    except MmesidError as error:
        sys.exit(f"Error: {error}")
    sys.stdout.write("\n".join(lines or ["no run was left behind"]) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    main()
