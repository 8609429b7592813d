"""`mmesid compare`: recorded runs beside each other: metrics, differences user by user, parameters, cost.

A run is judged where its `evaluate` stage has finished. A registered version is the run whose metrics it bears.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from mmesid import config as configuration
from mmesid.artifacts.files import write_atomically
from mmesid.commands.compare import runs as recorded
from mmesid.commands.compare.results import collect
from mmesid.commands.compare.runs import Judged, Known
from mmesid.commands.compare.text import printed
from mmesid.errors import ConfigError, TrackingError
from mmesid.reporting.comparison import Comparison, Result, render, to_csv

__all__ = ["compare", "printed", "save"]


def compare(
    datasets: Sequence[str], runs: Sequence[str] = (), against: str | None = None, root: Path = Path()
) -> Comparison:
    """Put runs beside each other.

    Args:
        datasets: names of files in conf/; those of params.yaml by default.
        runs: champion, challenger, previous, latest, v3, a run's id or the name of an execution; by default the
            registered aliases and the newest executions.
        against: the run that the others are compared with, named likewise; by default the champion, else the oldest.
        root: the project's folder.

    Raises:
        ConfigError: there is no such dataset.
        TrackingError: MLflow does not answer, has no judged run, or knows none of a name.
    """
    datasets = datasets or configuration.datasets(root)
    _check_datasets(datasets, root)
    known = {dataset: recorded.known_runs(dataset, root) for dataset in datasets}
    if not any(found.judged for found in known.values()):
        raise TrackingError(
            f"no judged run of {', '.join(datasets)} in MLflow yet: `dvc repro` makes one, and `mmesid log` sends "
            "what is still waiting"
        )
    wanted = [name.strip() for name in runs if name.strip()] or recorded.usual(known.values())
    rows = {name: recorded.find(name, known) for name in dict.fromkeys([*wanted, *([against] if against else [])])}
    found = {dataset: _on(dataset, known[dataset], rows, against, root) for dataset in datasets}
    found = {dataset: of for dataset, of in found.items() if of}
    return Comparison(found, {name: _row(of, found) for name, of in rows.items()})


def save(comparison: Comparison, version: str, root: Path = Path()) -> list[str]:
    """Write the page and the CSV; returns their names from the project's folder."""
    texts = {"reports/compare.html": render(comparison, version), "reports/compare.csv": to_csv(comparison)}
    for name, text in texts.items():
        write_atomically(root / name, partial(Path.write_text, data=text, encoding="utf-8"))
    return list(texts)


def _check_datasets(datasets: Iterable[str], root: Path) -> None:
    known = sorted(path.stem for path in (root / "conf").glob("*.yaml"))
    if unknown := [name for name in datasets if name not in known]:
        raise ConfigError(
            f"{', '.join(unknown)}: no such dataset among {', '.join(known) or 'none'}; "
            "each is a file in conf/, and `mmesid add NAME --files PATH` makes one"
        )


def _on(
    dataset: str, known: Known, rows: Mapping[str, Mapping[str, Judged]], against: str | None, root: Path
) -> list[Result]:
    """The chosen runs of one dataset."""
    chosen = {found[dataset].record.run_id: found[dataset] for found in rows.values() if dataset in found}
    runs = sorted(chosen.values(), key=lambda judged: -judged.record.started)
    if not runs:
        return []
    champion = next((run for run in runs if "champion" in run.roles), runs[-1])
    return collect(runs, rows[against].get(dataset) if against else champion, known.runs, root)


def _row(found: Mapping[str, Judged], by_dataset: Mapping[str, Sequence[Result]]) -> dict[str, Result]:
    """The results of the runs that one name means, by dataset."""
    ids = {dataset: judged.record.run_id for dataset, judged in found.items()}
    return {dataset: run for dataset, of in by_dataset.items() for run in of if run.run_id == ids.get(dataset)}
