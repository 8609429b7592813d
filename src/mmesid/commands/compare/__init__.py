"""`mmesid compare`: recorded runs beside each other: metrics, differences user by user, parameters, cost.

A run is judged where its `evaluate` stage has finished. A registered version is the run whose metrics it bears.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmesid import config
from mmesid.artifacts.texts import save_text
from mmesid.commands.compare.results import collect
from mmesid.commands.compare.runs import Judged, Known, find, known_runs, usual
from mmesid.commands.compare.text import printed
from mmesid.errors import TrackingError
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
    datasets = datasets or config.datasets(root)
    config.check_datasets(datasets, config.known_datasets(root))
    known = {dataset: known_runs(dataset, root) for dataset in datasets}
    if not any(runs_of.judged for runs_of in known.values()):
        raise TrackingError(
            f"no judged run of {', '.join(datasets)} in MLflow yet: `dvc repro` makes one, and `mmesid log` sends "
            "what is still waiting"
        )
    names = [name.strip() for name in runs if name.strip()] or usual(known.values())
    if against:
        names = [*names, against]
    by_name = {name: find(name, known) for name in dict.fromkeys(names)}
    results = {}
    for dataset in datasets:
        if compared := _results(dataset, known[dataset], by_name, against, root):
            results[dataset] = compared
    return Comparison(results, {name: _row(judged, results) for name, judged in by_name.items()})


def save(comparison: Comparison, version: str, root: Path = Path()) -> list[str]:
    """Write the page and the CSV; returns their names from the project's folder."""
    texts = {"reports/compare.html": render(comparison, version), "reports/compare.csv": to_csv(comparison)}
    for name, text in texts.items():
        save_text(root / name, text)
    return list(texts)


def _results(
    dataset: str, known: Known, by_name: Mapping[str, Mapping[str, Judged]], against: str | None, root: Path
) -> list[Result]:
    """The chosen runs of one dataset."""
    chosen = {judged[dataset].record.run_id: judged[dataset] for judged in by_name.values() if dataset in judged}
    runs = sorted(chosen.values(), key=lambda judged: -judged.record.started)
    if not runs:
        return []
    champion = next((run for run in runs if "champion" in run.roles), runs[-1])
    return collect(runs, by_name[against].get(dataset) if against else champion, known.runs, root)


def _row(judged: Mapping[str, Judged], results: Mapping[str, Sequence[Result]]) -> dict[str, Result]:
    """The results of the runs that one name means, by dataset."""
    row = {}
    for dataset, run in judged.items():
        for result in results.get(dataset, ()):
            if result.run_id == run.record.run_id:
                row[dataset] = result
    return row
