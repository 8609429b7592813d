"""What MLflow remembers, read only: no experiment, database or folder is made by asking."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmesid.tracking.sending import client, refusal, tracking_uri

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PAGE = 1000  # runs that MLflow gives at a time


class Recorded(NamedTuple):
    """A run in MLflow."""

    run_id: str
    dataset: str
    stage: str  # of dvc.yaml; pipeline: a whole execution; register: a registered model
    execution: str  # name of the execution, empty for a registration by hand
    status: str
    started: int  # milliseconds since the epoch
    seconds: float | None  # None while it runs
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    commit: str  # of git, empty where unknown
    catalogue: str  # DVC's checksum of the ingested catalogue, empty where unknown


class Version(NamedTuple):
    """A version of a dataset's registered model."""

    number: str
    run_id: str  # of its registration
    aliases: tuple[str, ...]  # champion, challenger, previous


def has_records(root: Path = Path()) -> bool:
    """Whether there is anything to ask: a server, or the database of this checkout."""
    uri = tracking_uri(root)
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


@contextmanager
def reachable(root: Path = Path()) -> Iterator["MlflowClient"]:
    """A client for the block; whatever MLflow refuses inside it is one clear error.

    Raises:
        TrackingError: the store does not answer, or refuses, or the disk is full; the sentence says which.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield client(root)
    except (MlflowException, OSError) as problem:
        raise refusal(tracking_uri(root), problem) from problem
    except Exception as problem:
        if type(problem).__module__.partition(".")[0] != "sqlalchemy":  # a package of MLflow's, not of ours
            raise
        raise refusal(tracking_uri(root), problem) from problem


def recorded(datasets: Iterable[str], root: Path = Path()) -> list[Recorded]:
    """Every run of some datasets, newest first.

    Args:
        datasets: those without an experiment have no runs.
        root: the project's folder.

    Raises:
        TrackingError: the store does not answer.
    """
    if not has_records(root):
        return []
    with reachable(root) as mlflow:
        experiments = [mlflow.get_experiment_by_name(dataset) for dataset in datasets]
        names = {experiment.experiment_id: experiment.name for experiment in experiments if experiment is not None}
        runs = _search(mlflow, list(names)) if names else []
    return [_recorded(run, names[run.info.experiment_id]) for run in runs]


def versions(model: str, root: Path = Path()) -> list[Version]:
    """Versions of a registered model, oldest first.

    Args:
        model: its name; one that MLflow does not know has none.
        root: the project's folder.

    Raises:
        TrackingError: the store does not answer.
    """
    if not has_records(root):
        return []
    with reachable(root) as mlflow:
        registered = list(mlflow.search_model_versions(f"name = '{model}'"))
        aliases = mlflow.get_registered_model(model).aliases if registered else {}
    answer = []
    for version in sorted(registered, key=lambda version: int(version.version)):
        number = str(version.version)
        borne = sorted(alias for alias in aliases if str(aliases[alias]) == number)
        answer.append(Version(number, version.run_id, tuple(borne)))
    return answer


def artifact(run_id: str, name: str, folder: Path, root: Path = Path()) -> Path | None:
    """Fetch one artifact of a run into a folder; None where the run has none of that name."""
    with reachable(root) as mlflow:
        if name not in {file.path for file in mlflow.list_artifacts(run_id)}:
            return None
        place = folder / run_id
        place.mkdir(parents=True, exist_ok=True)
        return Path(mlflow.download_artifacts(run_id, name, str(place)))


def _search(mlflow: "MlflowClient", experiments: list[str]) -> list[Any]:
    runs, token = [], None
    while True:
        page = mlflow.search_runs(
            experiments, max_results=PAGE, order_by=["attributes.start_time DESC"], page_token=token
        )
        runs += page
        token = page.token
        if not token:
            return runs


def _recorded(run: Any, dataset: str) -> Recorded:
    tags, info = run.data.tags, run.info
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return Recorded(
        run_id=info.run_id,
        dataset=dataset,
        stage=tags.get("mmesid.stage", ""),
        execution=tags.get("mmesid.execution", ""),
        status=info.status,
        started=info.start_time,
        seconds=(info.end_time - info.start_time) / 1000 if info.end_time else None,
        params=run.data.params,
        metrics=run.data.metrics,
        commit=tags.get("mlflow.source.git.commit", ""),
        catalogue=inputs[0].dataset.digest if inputs else "",
    )
