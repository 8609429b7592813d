"""A journal to MLflow. Sending twice changes nothing: a run is found again by its journal's id, and MLflow stores an
equal metric once. When it is done is for `delivery.py`.
"""

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmesid import host
from mmesid.errors import TrackingError, faults
from mmesid.tracking import journal, moving, parent, store
from mmesid.tracking.journal import Entry

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

BATCH_METRICS = 1000  # that MLflow takes at a time
VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")  # that MLflow sets where it is given an address
OTHERS = (  # by which a script of a person's own says where it logs, and how: MLflow would put our runs and models
    # there, and a journal would be put away before its values have arrived
    "MLFLOW_ACTIVE_MODEL_ID",
    "MLFLOW_ENABLE_ASYNC_LOGGING",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_RUN_ID",
)
IMPATIENT = {  # a server that is down costs seconds, not minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def tracking_uri(root: Path = Path()) -> str:
    """`MLFLOW_TRACKING_URI` if set, else a sqlite file under `mlruns/`. A file has its absolute path: a relative one
    counts from the project's folder, wherever a command or a temporary copy runs.

    Raises:
        TrackingError: no address names that file.
    """
    named = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlruns/mlflow.db"
    path, folder = store.sqlite_path(named), journal.mlruns(root).parent
    if path is None or path.is_absolute() or str(path).startswith("file:"):
        return named
    if fault := host.unaddressable(folder):
        raise TrackingError(f"MLflow's database {folder / path} cannot be named: {fault}, or set MLFLOW_TRACKING_URI")
    scheme, _, place = named.partition(":///")
    return f"{scheme}:///{folder / place}"


def client(root: Path = Path()) -> "MlflowClient":
    """An MLflow client of this checkout's tracking store and registry. A dead server costs seconds, not minutes.

    Raises:
        TrackingError: the store cannot be used; the sentence names MLFLOW_TRACKING_URI.
    """
    reach(root)
    host.set_defaults({**host.QUIET, **IMPATIENT})  # before the import
    for name in OTHERS:
        os.environ.pop(name, None)
    import mlflow
    from mlflow.tracking import MlflowClient

    uri = tracking_uri(root)
    with _environment_as_it_was():
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
    # What MLflow logs before it raises is a traceback: the error itself is what a person reads.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    try:
        with _lock(root):  # the first client creates the database
            return MlflowClient(uri)
    except Exception as problem:
        raise refusal(uri, problem) from problem


def refusal(uri: str, problem: Exception) -> TrackingError:
    """What to say of an error amid a request: the store's fault, unless the disk or a file's permissions are to blame.

    Args:
        uri: the store's address.
        problem: whatever MLflow or a package below it has raised.
    """
    return TrackingError(faults.sentence(problem) if faults.is_of_disk(problem) else store.explain(uri, problem))


@contextlib.contextmanager
def _environment_as_it_was() -> Iterator[None]:
    """MLflow writes the address into the environment, and messages would name variables that nobody has set."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    try:
        yield
    finally:
        for name in (name for name, value in before.items() if value is None):
            os.environ.pop(name, None)


def reach(root: Path = Path()) -> None:
    """Raises TrackingError where the store cannot be used. Artifacts of a folder that was moved are found again."""
    uri = tracking_uri(root)
    store.reach(uri)
    settle(uri, root)


def settle(uri: str, root: Path = Path()) -> list[str]:
    """Let a database find the artifacts of a folder that was moved. Returns the folders in which it was before.

    Args:
        uri: the database; a server's is its own matter.
        root: the project's folder.

    Raises:
        TrackingError: the database does not let itself be written.
    """
    mlruns = journal.mlruns(root)
    if not store.is_database(uri):
        return []
    with _lock(root):
        if store.sqlite_path(uri) == mlruns / "mlflow.db":
            return moving.settle(mlruns)
        try:
            return moving.settle_elsewhere(uri, mlruns)
        except Exception as problem:  # of SQLAlchemy or a driver
            raise refusal(uri, problem) from problem


def experiment_id(mlflow: "MlflowClient", dataset: str, root: Path = Path()) -> str:
    """The dataset's experiment, created or restored if need be. Local stores keep artifacts under `mlruns/`."""
    with _lock(root):
        experiment = mlflow.get_experiment_by_name(dataset)
        if experiment is None:
            remote = tracking_uri(root).startswith("http")
            location = None if remote else (journal.mlruns(root) / "artifacts" / dataset).as_uri()
            return str(mlflow.create_experiment(dataset, artifact_location=location))
        if experiment.lifecycle_stage == "deleted":
            mlflow.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)


def runs_for(dataset: str, root: Path = Path(), **tags: str) -> list[Any]:
    """Runs of a dataset, newest first, by their `mmesid.*` tags: `runs_for("sample", stage="finetune")`."""
    mlflow = client(root)
    return _find(mlflow, experiment_id(mlflow, dataset, root), {f"mmesid.{name}": tag for name, tag in tags.items()})


class Sender:
    """Sends one journal, piece by piece or all at once."""

    def __init__(self, path: Path, root: Path) -> None:
        self._path, self._root = path, root
        self._client: MlflowClient | None = None
        self._offset = self._started = 0
        self._ended = False  # whether an end was read
        self._params: dict[str, str] = {}
        self._run = self._parent = self._experiment = self._stage = ""

    def send(self, over: bool) -> None:
        """Send what is new and, once the journal has its end, put it away.

        Args:
            over: the writer is gone: a journal without an end then belongs to a killed process.
        """
        entries, offset = journal.read(self._path, self._offset)
        self._ended |= any("end" in entry for entry in entries)
        if over and not self._ended:
            moment = int(self._path.stat().st_mtime * 1000)
            entries.append({"end": "KILLED", "error": "the process was killed", "time": moment})
        if entries:
            self._client = self._client or client(self._root)
            self._deliver(self._client, entries)
            self._offset = offset
        if over:
            journal.mark_sent(self._path)

    def _deliver(self, mlflow: "MlflowClient", entries: list[Entry]) -> None:
        header = next((entry["header"] for entry in entries if "header" in entry), None)
        if header is not None:
            self._open(mlflow, header)
        if not self._run:  # killed before its first line was whole
            return
        self._send_values(mlflow, entries)
        for entry in entries:
            if "artifact" in entry:
                mlflow.log_artifact(self._run, str(journal.attachments(self._path) / entry["artifact"]))
            if "end" in entry:
                self._end(mlflow, entry)

    def _open(self, mlflow: "MlflowClient", header: Entry) -> None:
        """Find or create the execution's run and, inside it, the stage's."""
        self._experiment = experiment_id(mlflow, str(header.get("experiment", header["dataset"])), self._root)
        execution = {"mmesid.execution": header["execution"]}
        with _lock(self._root):
            key = {**execution, "mmesid.stage": "pipeline"}
            tags = {**header["tags"], **key}
            self._parent = self._find_or_create(mlflow, key, tags, header["execution"], header["started"])
            key = {"mmesid.journal": header["id"]}
            tags = {**header["tags"], **execution, **key, "mlflow.parentRunId": self._parent}
            self._run = self._find_or_create(
                mlflow, key, tags, str(header.get("name") or header["stage"]), header["started"]
            )
        self._stage, self._started = header["stage"], header["started"]
        mlflow.update_run(self._parent, status="RUNNING")
        parent.carry_parameters(mlflow, self._parent, header.get("parameters", {}))
        if header["digest"]:
            self._log_dataset(mlflow, header)

    def _find_or_create(
        self, mlflow: "MlflowClient", key: dict[str, str], tags: dict[str, str], name: str, started: int
    ) -> str:
        runs = _find(mlflow, self._experiment, key)
        if runs:
            return str(runs[0].info.run_id)
        return str(mlflow.create_run(self._experiment, start_time=started, tags=tags, run_name=name).info.run_id)

    def _log_dataset(self, mlflow: "MlflowClient", header: Entry) -> None:
        from mlflow.entities import Dataset, DatasetInput

        source = f'{{"uri": "data/{header["dataset"]}/ingest"}}'
        dataset = Dataset(header["dataset"], header["digest"], source_type="local", source=source)
        mlflow.log_inputs(self._run, datasets=[DatasetInput(dataset)])

    def _send_values(self, mlflow: "MlflowClient", entries: list[Entry]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(allowed(name), value, entry["time"], entry["step"])
            for entry in entries
            for name, value in entry.get("metrics", {}).items()
        ]
        for first in range(0, len(metrics), BATCH_METRICS):
            mlflow.log_batch(self._run, metrics=metrics[first : first + BATCH_METRICS])
            parent.carry_metrics(mlflow, self._parent, self._stage, metrics[first : first + BATCH_METRICS])
        for entry in entries:
            self._params = {**entry.get("params", {}), **self._params}  # MLflow refuses a second value: the first stays
        parent.log_params(mlflow, self._run, ((allowed(name), value) for name, value in self._params.items()))

    def _end(self, mlflow: "MlflowClient", entry: Entry) -> None:
        """End the stage's run, then give the execution's run the worst status among the last runs of its stages."""
        if entry["error"]:
            mlflow.set_tag(self._run, "mmesid.error", entry["error"][: parent.TEXT_LIMIT])
        mlflow.set_terminated(self._run, entry["end"], end_time=entry["time"])
        parent.carry_seconds(mlflow, self._parent, self._stage, self._started, entry["time"])
        worst = worst_status(mlflow, self._experiment, self._parent)
        if worst == "RUNNING":
            mlflow.update_run(self._parent, status=worst)
        else:
            mlflow.set_terminated(self._parent, worst, end_time=entry["time"])


def worst_status(mlflow: "MlflowClient", experiment: str, parent: str) -> str:
    """The worst status among the last runs of an execution's stages; KILLED where none ever came."""
    stages: dict[str, str] = {}
    for run in _find(mlflow, experiment, {"mlflow.parentRunId": parent}):
        stages.setdefault(run.data.tags["mmesid.stage"], run.info.status)
    return next((s for s in ("RUNNING", "FAILED", "KILLED", "FINISHED") if s in stages.values()), "KILLED")


def allowed(name: str) -> str:
    """A name that MLflow takes: ndcg@10 becomes ndcg_at_10, other signs it refuses become underscores."""
    return re.sub(r"[^\w\-./: ]", "_", name.replace("@", "_at_"))


def _find(mlflow: "MlflowClient", experiment: str, tags: dict[str, str]) -> list[Any]:
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    return list(mlflow.search_runs([experiment], query, max_results=1000, order_by=["attributes.start_time DESC"]))


def _lock(root: Path) -> contextlib.AbstractContextManager[None]:
    return host.locked(journal.mlruns(root) / ".lock", TrackingError)
