"""Runs beside each other: what `mmesid compare` shows, as one HTML page and as CSV. Pure functions of values."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from mmesid.models import MAIN_METRIC, MAIN_MODEL, RANK_METRICS, TESTED_METRICS, metric_label
from mmesid.reporting import figures, tables
from mmesid.reporting.html import PANELS, environment
from mmesid.reporting.tables import Cell, ResultRow, verdict

COLUMNS = (
    "dataset",
    "run",
    "run_id",
    "kind",
    "name",
    "value",
    "low",
    "high",
    "reference",
    "difference",
    "difference_low",
    "difference_high",
    "p_value",
)


class Difference(NamedTuple):
    """A run minus the reference, in one metric; the rest is None where the two are not compared user by user."""

    value: float
    low: float | None = None  # of the 95 % interval
    high: float | None = None
    p_value: float | None = None

    @property
    def verdict(self) -> str:
        """`above` or `below` where the interval leaves zero out, else `undecided`; `not paired` without one."""
        if self.low is None or self.high is None:
            return "not paired"
        return verdict(self.low, self.high)


class Result(NamedTuple):
    """One run on one dataset."""

    dataset: str
    run: str  # name of the execution
    roles: tuple[str, ...]  # champion, version 3
    run_id: str  # of the run in MLflow that holds the metrics
    started: str  # date and time, UTC
    metrics: Mapping[str, Any]  # as metrics.json holds them
    parameters: Mapping[str, str]
    seconds: Mapping[str, float]  # of each stage that ran, in their order
    is_reference: bool
    differences: Mapping[str, Difference]  # to the reference, by metric; empty for the reference itself
    remark: str  # why there is no interval, or no paired test

    @property
    def label(self) -> str:
        """The run with what it is to the registry."""
        return f"{self.run} ({', '.join(self.roles)})" if self.roles else self.run


class Comparison(NamedTuple):
    """Results by dataset; `rows` names, for the table over datasets, a result by row and dataset."""

    results: Mapping[str, Sequence[Result]]
    rows: Mapping[str, Mapping[str, Result]]


def cells(results: Sequence[Result]) -> list[list[Cell | None]]:
    """Test metrics of MME-SID, in the order of RANK_METRICS; the best of each column is marked."""
    table = [_cells(result) for result in results]
    best = [max((cell.value for cell in column if cell), default=None) for column in zip(*table, strict=True)]
    several = len(results) > 1
    return [
        [cell and cell._replace(best=several and cell.value == best[column]) for column, cell in enumerate(row)]
        for row in table
    ]


def _cells(result: Result) -> list[Cell | None]:
    scores = {MAIN_MODEL: tables.part(tables.part(result.metrics, "test"), MAIN_MODEL)}
    rows = tables.result_rows(result.dataset, {"test": scores})
    return rows[0].cells if rows else [None] * len(RANK_METRICS)


def reference(results: Sequence[Result]) -> Result | None:
    """The run that the others are compared with."""
    return next((result for result in results if result.is_reference), None)


def relative(result: Result, base: Result | None, metric: str) -> float | None:
    """The difference as a share of the reference's value; None where that is 0 or unknown."""
    place = RANK_METRICS.index(metric)
    cell = _cells(base)[place] if base else None
    found = result.differences.get(metric)
    return found.value / cell.value if found and cell and cell.value else None


def differing(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """Parameters that are not the same in all runs: key, and the value of each run."""
    keys = sorted({key for result in results for key in result.parameters}, key=lambda key: ("." in key, key))
    rows = [(key, [result.parameters.get(key, "–") for result in results]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def stages(results: Sequence[Result]) -> list[str]:
    """Every stage that ran in one of the runs, in the order of the pipeline as far as the runs tell."""
    longest = sorted(results, key=lambda result: -len(result.seconds))
    return list(dict.fromkeys(stage for result in longest for stage in result.seconds))


def remarks(results: Sequence[Result]) -> dict[str, list[str]]:
    """What is missing, and in which runs."""
    found: dict[str, list[str]] = {}
    for result in results:
        if result.remark:
            found.setdefault(result.remark, []).append(result.run)
    return found


def render(comparison: Comparison, version: str) -> str:
    """The page; equal comparisons give equal bytes."""
    template = environment().get_template("compare.html.j2")
    several = len(comparison.results) > 1
    return template.render(
        version=version,
        columns=[metric_label(name) for name in RANK_METRICS],
        tested=[(name, metric_label(name)) for name in TESTED_METRICS],
        main=MAIN_METRIC,
        overviews=_overviews(comparison.results),
        matrix=_matrix(comparison) if several else [],
        datasets=[_view(dataset, results) for dataset, results in comparison.results.items()],
    )


def _matrix(comparison: Comparison) -> list[tuple[str, list[Cell | None]]]:
    """nDCG@10 by row and dataset; the best of each dataset is marked."""
    place = RANK_METRICS.index(MAIN_METRIC)
    marked = {
        dataset: {result.run_id: row[place] for result, row in zip(results, cells(results), strict=True)}
        for dataset, results in comparison.results.items()
    }
    return [
        (row, [marked[dataset].get(found[dataset].run_id) if dataset in found else None for dataset in marked])
        for row, found in comparison.rows.items()
    ]


def _view(dataset: str, results: Sequence[Result]) -> dict[str, Any]:
    base = reference(results)
    return {
        "name": dataset,
        "rows": list(zip(results, cells(results), strict=True)),
        "reference": base,
        "others": [(result, relative(result, base, MAIN_METRIC)) for result in results if result.differences],
        "runs": results,
        "parameters": differing(results),
        "stages": stages(results),
        "remarks": remarks(results),
    }


def _overviews(results: Mapping[str, Sequence[Result]]) -> list[Markup]:
    rows = {
        dataset: [
            ResultRow(dataset, MAIN_MODEL, result.run, False, row, [], None)
            for result, row in zip(found, cells(found), strict=True)
        ]
        for dataset, found in results.items()
    }
    names = list(rows)
    chunks = [names[start : start + PANELS] for start in range(0, len(names), PANELS)]
    drawn = [figures.overview(f"compare-{chunk[0]}", {name: rows[name] for name in chunk}) for chunk in chunks]
    return [Markup(figure) for figure in drawn if figure]


def to_csv(comparison: Comparison) -> str:
    """One row per dataset, run and metric, then parameters that differ (kind parameter) and seconds per stage."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for results in comparison.results.values():
        base = reference(results)
        for place, (result, row) in enumerate(zip(results, cells(results), strict=True)):
            head = {"dataset": result.dataset, "run": result.run, "run_id": result.run_id}
            writer.writerows(head | line for line in _metric_lines(result, row, base))
            values = ((key, found[place]) for key, found in differing(results))
            writer.writerows({**head, "kind": "parameter", "name": key, "value": value} for key, value in values)
            writer.writerows({**head, "kind": "seconds", "name": k, "value": v} for k, v in result.seconds.items())
    return out.getvalue()


def _metric_lines(result: Result, row: Sequence[Cell | None], base: Result | None) -> Iterable[dict[str, Any]]:
    for name, cell in zip(RANK_METRICS, row, strict=True):
        if cell is None:
            continue
        line: dict[str, Any] = {"kind": "metric", "name": name, "value": cell.value}
        if cell.interval:
            line |= {"low": cell.interval[0], "high": cell.interval[1]}
        if found := result.differences.get(name):
            line |= {"reference": base.run_id if base else "", "difference": found.value}
            line |= {"difference_low": found.low, "difference_high": found.high, "p_value": found.p_value}
        yield line
