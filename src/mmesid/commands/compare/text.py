"""A comparison as tables for the terminal: titles, column heads and rows of plain text.

A run has a letter beside its name, under which the narrower tables know it.
"""

import string
from collections.abc import Sequence

from mmesid.models import BRIEF_METRICS, MAIN_METRIC, RANK_METRICS, TESTED_METRICS, metric_label
from mmesid.reporting.comparison import Comparison, Difference, Result, cells, differing, reference, stages
from mmesid.reporting.tables import Cell

LONGEST = 32  # characters of a parameter's value

Table = tuple[str, list[str], list[list[str]]]  # title, heads, rows


def printed(comparison: Comparison) -> list[Table]:
    """Metrics, differences, parameters and cost of each dataset; what is empty is left out."""
    filled: list[Table] = []
    for dataset, results in comparison.results.items():
        tables = (_metrics(results), _differences(results), _parameters(results), _cost(results))
        filled += [(f"{dataset}: {title}", heads, rows) for title, heads, rows in tables if rows]
    return filled


def _metrics(results: Sequence[Result]) -> Table:
    places = [RANK_METRICS.index(name) for name in BRIEF_METRICS]
    rows = [
        [letter, f"{result.label}\n{result.started}", *(_cell(row[place]) for place in places)]
        for letter, result, row in zip(_letters(results), results, cells(results), strict=True)
    ]
    return "test metrics of MME-SID, 95 % intervals", ["", "run, start in UTC", *map(metric_label, BRIEF_METRICS)], rows


def _letters(results: Sequence[Result]) -> list[str]:
    """A, B, ..., Z, AA, AB, ..."""
    names = [*string.ascii_uppercase, *(a + b for a in string.ascii_uppercase for b in string.ascii_uppercase)]
    return names[: len(results)]


def _differences(results: Sequence[Result]) -> Table:
    base = reference(results)
    rows = [
        [letter, *(_difference(result.differences.get(name)) for name in TESTED_METRICS), _verdict(result)]
        for letter, result in zip(_letters(results), results, strict=True)
        if result.differences
    ]
    heads = ["", *map(metric_label, TESTED_METRICS), f"{metric_label(MAIN_METRIC)} is"]
    return f"difference to {base.run if base else 'nothing'}, over the same users", heads, rows


def _verdict(result: Result) -> str:
    verdict = result.differences[MAIN_METRIC].verdict if MAIN_METRIC in result.differences else "not paired"
    return f"{verdict}: {result.remark}" if result.remark else verdict


def _parameters(results: Sequence[Result]) -> Table:
    rows = [[key, *(value[:LONGEST] for value in values)] for key, values in differing(results)]
    return "parameters that differ", ["", *_letters(results)], rows


def _cost(results: Sequence[Result]) -> Table:
    rows = [[name, *(_seconds(result.seconds.get(name)) for result in results)] for name in stages(results)]
    if rows:
        rows.append(["total", *(_seconds(sum(result.seconds.values()) or None) for result in results)])
    return "seconds of each stage that the run itself carried out", ["", *_letters(results)], rows


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    interval = f"\n{cell.interval[0]:.4f} – {cell.interval[1]:.4f}" if cell.interval else ""
    return f"{cell.value:.4f}{' *' if cell.best else ''}{interval}"


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return "–"
    if difference.low is None or difference.high is None or difference.p_value is None:
        return f"{difference.value:+.4f}"
    p_value = "p < .001" if difference.p_value < 0.001 else f"p {difference.p_value:.3f}"
    return f"{difference.value:+.4f}\n{difference.low:+.4f} … {difference.high:+.4f}, {p_value}"
