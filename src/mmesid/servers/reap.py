"""Runs that a kill has left behind are closed with a reason, in MLflow and in Prefect; none that is alive is touched.

`mmesid reap` does it, and so does every retrain and `mmesid up` at its start.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmesid import config, host, registry, tracking
from mmesid.errors import ServiceError
from mmesid.servers import deployments, presence, processes, reachable

if TYPE_CHECKING:
    from prefect import State
    from prefect.client.orchestration import SyncPrefectClient

REASON = "the process of this run is gone (killed, or the machine went down); mmesid closed the run"
CANCELLED = "cancelled, and the process of this run had ended already; mmesid closed the run"
SETTLED = 120.0  # seconds after which a run that a worker has taken must have a process


def run(root: Path, no_worker: bool) -> list[str]:
    """`reap` as a program of its own: Prefect is imported here first, and quiet."""
    host.set_defaults({**host.prefect_settings(root), "PREFECT_LOGGING_LEVEL": "WARNING"})
    reachable.check_prefect(root)
    tracking.reach(root)
    return reap(root, config.datasets(root), no_worker) or ["no run was left behind"]


def reap(root: Path, datasets: Sequence[str], no_worker: bool = False, exclude_run: str = "") -> list[str]:
    """Close what is dead in MLflow and in Prefect.

    Args:
        root: the project's folder.
        datasets: whose registrations are examined.
        no_worker: no worker of this checkout is running, so that a run without a process will not get one.
        exclude_run: id of a flow run that is left as it is: the caller's own.

    Returns:
        A line for each run that was closed.
    """
    return [*reap_flows(root, no_worker, exclude_run), *reap_tracking(root, datasets)]


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


def reap_flows(root: Path, no_worker: bool = False, exclude_run: str = "") -> list[str]:
    """Prefect's part: flow runs that are not over, and whose process is gone, become `Crashed`, their tasks too;
    one that a person has cancelled becomes `Cancelled`.

    A worker that sees its flow die closes the run itself, and leaves the run's tasks running.

    Raises:
        ServiceError: Prefect's server does not answer.
    """
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled, Crashed

    lines = []
    with get_client(sync_client=True) as client:
        if problem := client.api_healthcheck():
            said = f"{client.api_url} does not answer ({type(problem).__name__})"
            raise ServiceError(f"PREFECT_API_URL: Prefect's server at {said}; `mmesid up` starts one")
        for run in _open_runs(client, root):
            if str(run.id) == exclude_run or waits(run) or not is_dead(run, root, no_worker):
                continue
            if not run.state.is_final():
                asked = run.state.is_cancelling()  # of one that was suspended, so that no worker does it
                end: State[Any] = Cancelled(message=CANCELLED) if asked else Crashed(message=REASON)
                client.set_flow_run_state(run.id, end, force=True)
                lines.append(f"Prefect flow run {run.name}: {run.state.name} before, {end.name} now")
            for task in _unfinished_tasks(client, run.id):
                client.set_task_run_state(task.id, Crashed(message=REASON), force=True)
                lines.append(f"Prefect task {task.name} of {run.name}: Crashed now")
            presence.forget(root, str(run.id))
    return lines


def waits(run: Any) -> bool:
    """Whether a flow run needs no process now: a person has asked for it, or for a retry, or has suspended it."""
    return bool(run.state.is_scheduled() or run.state.is_paused())


def is_dead(run: Any, root: Path, no_worker: bool) -> bool:
    """Whether an unfinished flow run is this checkout's, and its process is gone.

    A run that has begun holds a lock. One that has not begun, or begins again, was taken by a worker, carries the
    checkout's tag, and has a process with its id in the environment, or will have one within SETTLED seconds.
    """
    identity = str(run.id)
    if presence.is_registered(root, identity) and not run.state.is_pending():
        return not presence.is_alive(root, identity)
    if deployments.tag(root) not in run.tags or processes.marked({"PREFECT__FLOW_RUN_ID": identity}):
        return False
    return no_worker or (datetime.now(UTC) - run.state.timestamp).total_seconds() > SETTLED


def _open_runs(client: "SyncPrefectClient", root: Path) -> list[Any]:
    """Flow runs that are not over, and those of this checkout that are still registered, whatever their state."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterState
    from prefect.client.schemas.filters import FlowRunFilterStateType as StateTypes
    from prefect.client.schemas.objects import StateType

    states = StateTypes(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=states)))
    if registered := presence.registered(root):
        runs += client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=registered)))
    return list({run.id: run for run in runs}.values())  # one may be in both lists


def _unfinished_tasks(client: "SyncPrefectClient", flow_run: Any) -> list[Any]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run])))
    return [task for task in tasks if task.state is None or not task.state.is_final()]
