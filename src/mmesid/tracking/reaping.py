"""Runs that a kill has left `RUNNING`: closed with a reason, those of this checkout only, and never one that is alive.

A stage is alive as long as its journal is locked; what a dead one has logged is sent first. Then only runs are left
that no journal stands behind any more: of a stage, whose journal is gone, or of an execution, all of whose stages are
over.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmesid.tracking import journal
from mmesid.tracking.delivery import send_pending
from mmesid.tracking.run import checkout
from mmesid.tracking.sending import client, worst_status

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

REASON = "the process was killed; closed afterwards"
OWN = ("pipeline", "register")  # stages in the tags of runs that have no journal


def close_dead(root: Path = Path()) -> list[str]:
    """Close what is dead: first by sending its journal, then what has none. Runs named `register` are the registry's.

    Returns:
        A line for each run that was closed.
    """
    sent = send_pending(root)
    lines = [f"{sent} stage runs were still to be sent to MLflow"] if sent else []
    mlflow = client(root)
    running = running_here(mlflow, root)  # before the journals are listed: a run that is alive has one by then
    books = [header for path in journal.pending(root) if (header := journal.header(path))]
    alive, busy = {book["id"] for book in books}, {book["execution"] for book in books}
    for run in running:
        tags = run.data.tags
        if tags.get("mmesid.stage") not in OWN and tags.get("mmesid.journal") not in alive:
            lines += close(mlflow, run, "KILLED")
    for run in running:
        if run.data.tags.get("mmesid.stage") == "pipeline" and run.data.tags.get("mmesid.execution") not in busy:
            status = worst_status(mlflow, run.info.experiment_id, run.info.run_id)
            if status != "RUNNING":
                lines += close(mlflow, run, status)
    return lines


def running_here(mlflow: "MlflowClient", root: Path) -> list[Any]:
    """Every run of this checkout that MLflow takes to be running."""
    experiments = [experiment.experiment_id for experiment in mlflow.search_experiments(max_results=1000)]
    query = f"attributes.status = 'RUNNING' and tags.`mmesid.checkout` = '{checkout(root)}'"
    return list(mlflow.search_runs(experiments, query, max_results=1000)) if experiments else []


def close(mlflow: "MlflowClient", run: Any, status: str) -> list[str]:
    """End a run, unless it has ended meanwhile. Returns a line that says so, or none."""
    if mlflow.get_run(run.info.run_id).info.status != "RUNNING":
        return []
    mlflow.set_tag(run.info.run_id, "mmesid.reaped", REASON)
    if status == "KILLED":
        mlflow.set_tag(run.info.run_id, "mmesid.error", REASON)
    mlflow.set_terminated(run.info.run_id, status)
    return [f"MLflow run {run.info.run_name} of {run.data.tags.get('mmesid.execution', 'no execution')}: {status}"]
