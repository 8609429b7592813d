"""What must hold after all that was killed and broken: each law returns what violates it, nothing where it holds."""

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from mmesid import config, registry, serving, tracking
from mmesid.artifacts.store import Store
from mmesid.pipeline import graph as pipeline
from mmesid.registry import Record, files
from mmesid.registry.gate import Clause
from mmesid.registry.promotion import DONE, DROPPED, MOVE
from mmesid.registry.versions import DIGEST, ROLLED_BACK, versions
from mmesid.tracking import journal
from mmesid.tracking.run import flatten
from mmesid.tracking.sending import allowed
from tests import tiny
from tests.soak import draws

BESIDE = re.compile(r"^\..+\.\d+$")  # what `write_atomically` writes before it renames
UNSEEN = (".git", ".venv", ".dvc/tmp")

NOT_ASKED = Clause("the gate", False, 0, 0, "no clause was asked")

Placed = Sequence[tuple[str, str]]  # moment and version of each champion that a person has named; empty: taken away
Point = tuple[str, str, int, int]  # name, value, step, time


def outputs_are_equal(root: Path, reference: Path) -> list[str]:
    """Every output's hash in dvc.lock is that of the undisturbed run."""
    found, expected = tiny.results(root), tiny.results(reference)
    return [
        f"{path} differs from the undisturbed run's"
        for path in {**found, **expected}
        if found.get(path) != expected.get(path)
    ]


def metrics_are_equal(root: Path, reference: Path) -> list[str]:
    """So is every number of metrics.json."""
    found, expected = (
        dict(flatten(json.loads((folder / "reports" / tiny.NAME / "metrics.json").read_text(encoding="utf-8"))))
        for folder in (root, reference)
    )
    return [f"{name}: {found.get(name)}, not {value}" for name, value in expected.items() if found.get(name) != value]


def nothing_is_due(root: Path) -> list[str]:
    """DVC has nothing to do."""
    return [f"{stage.name}: {change}" for stage in pipeline.read(root) for change in stage.changes]


def no_run_is_running(mlflow: Any) -> list[str]:
    """Every run and every logged model in MLflow has an end."""
    experiments = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    runs = mlflow.search_runs(experiments, "attributes.status = 'RUNNING'", max_results=1000)
    models = mlflow.search_logged_models(experiments, "status = 'PENDING'") if experiments else []
    return [
        *(f"run {run.info.run_name} of {run.data.tags.get('mmesid.execution')} is RUNNING" for run in runs),
        *(f"logged model {model.model_id} is PENDING" for model in models),
    ]


def a_model_is_registered_once(mlflow: Any, lost: int = 0) -> list[str]:
    """Versions have different digests, and each can answer.

    Args:
        mlflow: a client of the registry.
        lost: milliseconds since the epoch at which artifacts were gone last: a version from before may lack its files,
            and may have been registered anew.
    """
    found = versions(mlflow, registry.model_name(tiny.NAME))
    times = Counter(version.tags.get(DIGEST) for version in found if version.creation_timestamp > lost)
    broken = []
    for version in found:
        if version.creation_timestamp <= lost and files.lost(mlflow, version):
            continue
        try:
            registry.load_version(version).recommend([["i00001"]], 3)
        except Exception as error:  # whatever it is, this version does not answer
            broken.append(f"version {version.version} does not answer: {error}")
    return [f"{count} versions of the model {digest}" for digest, count in times.items() if count > 1] + broken


def aliases_follow_the_decisions(root: Path, mlflow: Any, placed: Placed) -> list[str]:
    """The champion and the one before are those of the last decision, the challenger is what was trained last."""
    name = registry.model_name(tiny.NAME)
    found = {alias: str(version) for alias, version in mlflow.get_registered_model(name).aliases.items()}
    digest = serving.bundle_digest(serving.collect(Store(tiny.NAME, root), config.load(tiny.NAME, root)))
    trained = [version for version in versions(mlflow, name) if version.tags.get(DIGEST) == digest]
    whole = [str(version.version) for version in trained if not files.lost(mlflow, version)]
    expected = {**decided(registry.decisions(tiny.NAME, root), placed), "challenger": (whole or [""])[-1]}
    open_ = [v.version for v in versions(mlflow, name) if v.tags.get(MOVE, DONE) not in (DONE, DROPPED)]
    return [
        *(
            f"{alias} is {found.get(alias)}, not {version}"
            for alias, version in expected.items()
            if found.get(alias) != version
        ),
        *(f"{alias} is {found[alias]}, which nothing has decided" for alias in found.keys() - expected.keys()),
        *(f"the move of version {version} is still due" for version in open_),
    ]


def decided(records: Iterable[Record], placed: Placed) -> dict[str, str]:
    """Champion and previous after all decisions and all that a person has placed, in the order of time."""
    aliases: dict[str, str] = {}
    moves = [(record.decided, record.version, record.champion) for record in records if record.passed]
    for _, version, replaced in sorted([*moves, *((when, version, None) for when, version in placed)]):
        aliases["champion"] = version
        if not version:
            del aliases["champion"]
        if replaced:
            aliases["previous"] = replaced
    return aliases


def no_champion_is_false(records: Iterable[Record]) -> list[str]:
    """What a promotion made champion has held every clause of the gate."""
    return [
        f"version {record.version} was promoted although {clause.name} does not hold"
        for record in records
        if record.passed and record.kind == "promotion"
        for clause in record.clauses or [NOT_ASKED]
        if not clause.passed
    ]


def refusals_follow_the_decisions(records: Iterable[Record], found: Sequence[Any]) -> list[str]:
    """Refused is what the last rollback that names a version has replaced, or the same model registered again.

    Args:
        records: every decision, oldest first.
        found: every version of the model.
    """
    told: dict[str | None, str] = {}
    for record in records:
        if record.kind == "rollback":
            told |= {record.champion: "true", record.version: "false"}
    wrong = []
    for version in found:
        equal = [each for each in found if each is version or each.tags.get(DIGEST) == version.tags.get(DIGEST)]
        expected = {told[str(each.version)] for each in equal if str(each.version) in told} or {"false"}
        if (refused := version.tags.get(ROLLED_BACK, "false")) not in expected:
            wrong.append(f"{ROLLED_BACK} of version {version.version} is {refused}, which no rollback has decided")
    return wrong


def every_journal_arrived_once(root: Path, mlflow: Any) -> list[str]:
    """What stages have logged is in MLflow: one run for each journal, each point of it once, and its end."""
    wrong = [f"{path.name} was not sent" for path in journal.pending(root)]
    runs: dict[str, list[Any]] = {}
    for experiment in mlflow.search_experiments():
        for run in mlflow.search_runs([experiment.experiment_id], max_results=50_000):
            if identity := run.data.tags.get("mmesid.journal"):
                runs.setdefault(identity, []).append(run)
    for path in sorted(journal.folder(root).glob(f"*/*{journal.SENT}")):
        entries, _ = journal.read(path)
        identity = entries[0]["header"]["id"]
        sent = runs.pop(identity, [])
        if len(sent) != 1:
            wrong.append(f"{path.name} has {len(sent)} runs")
        else:
            wrong += [f"{path.name}: {fault}" for fault in faults_of_run(entries, sent[0], mlflow)]
    return wrong + [f"run {identity} has no journal" for identity in runs]


def faults_of_run(entries: list[journal.Entry], run: Any, mlflow: Any) -> list[str]:
    """What differs between a journal and its run."""
    expected: set[Point] = {
        (allowed(name), repr(float(value)), entry["step"], entry["time"])
        for entry in entries
        for name, value in entry.get("metrics", {}).items()
    }
    found = [
        (name, repr(float(point.value)), point.step, point.timestamp)
        for name in run.data.metrics
        for point in mlflow.get_metric_history(run.info.run_id, name)
    ]
    end = next((entry["end"] for entry in entries if "end" in entry), "KILLED")
    wrong = [f"lost {point}" for point in sorted(expected - set(found))]
    wrong += [f"{point} is there {count} times" for point, count in Counter(found).items() if count > 1]
    wrong += [f"{point} was never logged" for point in sorted(set(found) - expected)]
    return wrong + ([f"ended {end}, is {run.info.status}"] if run.info.status != end else [])


def nothing_is_half_written(root: Path) -> list[str]:
    """No file waits to be renamed, and what lies in DVC's cache is what its name says."""
    wrong = []
    for path in root.rglob("*"):
        inside = str(path.relative_to(root))
        if path.is_file() and BESIDE.match(path.name) and not inside.startswith(UNSEEN):
            wrong.append(f"{inside} was never renamed")
    wrong += [f"{path.relative_to(root)} was left behind" for path in (root / "mlruns").glob(".register.*")]
    wrong += [f"{path.relative_to(root)} was left behind" for path in (root / "mlruns" / "flows").glob("*")]
    for path in (root / ".dvc" / "cache" / "files" / "md5").glob("*/*"):
        name = path.parent.name + path.name.removesuffix(".dir")
        if hashlib.md5(path.read_bytes()).hexdigest() != name:
            wrong.append(f"{path.relative_to(root)} does not hold what its name says")
    return wrong


def nobody_is_left(root: Path, own: int, seconds: float = 20.0) -> list[str]:
    """No process works in the checkout, or was started by its `mmesid up`; the last ones have a moment to end."""
    until = time.monotonic() + seconds
    while (left := workers(root, own)) and time.monotonic() < until:
        time.sleep(0.5)
    return [f"still there: {command}" for command in left]


def workers(root: Path, own: int) -> list[str]:
    """Commands of the processes that work in a checkout, or that its `mmesid up` has started."""
    commands = []
    for process in draws.everyone(root):
        with suppress(psutil.Error):  # it has just ended
            if process.pid != own:
                commands.append(" ".join(process.cmdline()))
    return [command for command in commands if command]


def all_of_them(root: Path, reference: Path, placed: Placed, lost: int, own: int) -> Mapping[str, list[str]]:
    """Every law of the stopped system; MLflow's database is read as it lies."""
    mlflow = tracking.client(root)
    return {
        "every output is that of an undisturbed run": outputs_are_equal(root, reference),
        "every metric is": metrics_are_equal(root, reference),
        "nothing is out of date": nothing_is_due(root),
        "no run in MLflow is running": no_run_is_running(mlflow),
        "a model is registered once, and answers": a_model_is_registered_once(mlflow, lost),
        "aliases follow the last decision": aliases_follow_the_decisions(root, mlflow, placed),
        "no champion is false": no_champion_is_false(registry.decisions(tiny.NAME, root)),
        "refusals follow the rollbacks": refusals_follow_the_decisions(
            registry.decisions(tiny.NAME, root), versions(mlflow, registry.model_name(tiny.NAME))
        ),
        "every journal arrived once": every_journal_arrived_once(root, mlflow),
        "nothing is half-written": nothing_is_half_written(root),
        "no process is left": nobody_is_left(root, own),
    }
