"""Which recorded runs are judged, which registered version each became, and which one a name means."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmesid import registry, tracking
from mmesid.errors import TrackingError
from mmesid.models import MAIN_MODEL, RANK_METRICS
from mmesid.tracking import Recorded, Version

ALIASES = ("champion", "challenger", "previous")
LATEST = 5  # newest executions that are shown by default
SHORTEST_ID = 6  # characters of a run id that name it


class Judged(NamedTuple):
    """A run with test metrics, and the versions that came from it."""

    record: Recorded  # of the `evaluate` stage; of the registration where that is not recorded
    roles: tuple[str, ...]  # champion, v3
    ids: tuple[str, ...]  # of every run in MLflow that means it: the execution's, its stages', its registrations'


class Known(NamedTuple):
    """What is recorded about one dataset, newest first."""

    runs: list[Recorded]
    judged: list[Judged]


def known_runs(dataset: str, root: Path) -> Known:
    """Every run of a dataset that MLflow has recorded."""
    runs = tracking.recorded([dataset], root)
    roles: dict[str, list[str]] = {}
    registrations: dict[str, list[str]] = {}
    for version in tracking.versions(registry.model_name(dataset), root):
        origin = _origin(version, runs)
        if origin is not None:
            roles.setdefault(origin.run_id, []).extend([*version.aliases, f"v{version.number}"])
            registrations.setdefault(origin.run_id, []).append(version.run_id)
    finished = [run for run in runs if run.stage == "evaluate" and run.status == "FINISHED"]
    newest = {run.execution: run for run in reversed(finished)}.values()
    judged = [run for run in runs if run in newest or run.run_id in roles]
    return Known(runs, [_judged(run, runs, roles, registrations) for run in judged])


def _judged(
    run: Recorded, runs: Sequence[Recorded], roles: Mapping[str, list[str]], registrations: Mapping[str, list[str]]
) -> Judged:
    same = [other.run_id for other in runs if run.execution and other.execution == run.execution]
    ids = (run.run_id, *same, *registrations.get(run.run_id, []))
    return Judged(run, tuple(roles.get(run.run_id, [])), ids)


def _origin(version: Version, runs: Sequence[Recorded]) -> Recorded | None:
    """The evaluation that a version came from: the last one before its registration with the same test metrics."""
    registered = next((run for run in runs if run.run_id == version.run_id), None)
    if registered is None:
        return None
    bears = test_metrics(registered)
    earlier = (run for run in runs if run.stage == "evaluate" and run.started <= registered.started)
    return next((run for run in earlier if bears and test_metrics(run) == bears), registered)


def test_metrics(run: Recorded) -> dict[str, float]:
    """Test metrics of MME-SID, without the prefix under which MLflow has them."""
    return {name: run.metrics[key] for name in RANK_METRICS if (key := f"test.{MAIN_MODEL}.{name}") in run.metrics}


def usual(known: Iterable[Known]) -> list[str]:
    """The names of what is compared by default: the registered aliases and the newest executions."""
    judged = [run for dataset in known for run in dataset.judged]
    roles = {role for run in judged for role in run.roles}
    newest = sorted((run.record for run in judged), key=lambda record: -record.started)
    executions = list(dict.fromkeys(name_of(run) for run in newest))
    return [*(alias for alias in ALIASES if alias in roles), *executions[:LATEST]]


def name_of(run: Recorded) -> str:
    """The execution's name, else the start of the run's id."""
    return run.execution or run.run_id[:8]


def find(name: str, known: Mapping[str, Known]) -> dict[str, Judged]:
    """The judged run of that name on each dataset that has one.

    Raises:
        TrackingError: none has.
    """
    runs = {dataset: _find_in(name, of_dataset) for dataset, of_dataset in known.items()}
    if judged := {dataset: run for dataset, run in runs.items() if run is not None}:
        return judged
    if name in ALIASES:
        raise TrackingError(f"no {name} among {', '.join(known)}; `mmesid register` and `mmesid promote` make one")
    names = [name_of(run.record) for of_dataset in known.values() for run in of_dataset.judged]
    executions = ", ".join(dict.fromkeys(names[:8]))
    raise TrackingError(
        f"no judged run '{name}' in MLflow; name champion, challenger, previous, latest, a version (v1), a run's id "
        f"({SHORTEST_ID} characters or more) or an execution: {executions}"
    )


def _find_in(name: str, known: Known) -> Judged | None:
    if name == "latest":
        return known.judged[0] if known.judged else None
    for judged in known.judged:
        by_id = len(name) >= SHORTEST_ID and any(identity.startswith(name) for identity in judged.ids)
        if by_id or name in judged.roles or name == judged.record.execution:
            return judged
    return None
