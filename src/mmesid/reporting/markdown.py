"""Results as Markdown, as the README shows them."""

from collections.abc import Mapping

from mmesid.models import MAIN_METRIC, RANK_METRICS, metric_label
from mmesid.reporting.tables import Cell, Metrics, differences, excludes_history, number, part, result_rows

SHOWN = ("ndcg_at_5", MAIN_METRIC)
MENTIONED = 0.01  # share of tied interactions
VERDICTS = {"above": "above", "below": "below", "undecided": "not distinguishable from"}


def results(metrics_by_dataset: Mapping[str, Metrics], commands: Mapping[str, str]) -> str:
    """A table of dataset, model and nDCG on test users with 95 % intervals, then the paired differences.

    Args:
        metrics_by_dataset: each as `metrics.json` holds it.
        commands: what makes the dataset's figures.
    """
    lines = [
        f"| dataset | model | {' | '.join(metric_label(name) for name in SHOWN)} | made by |",
        "|---|---|---|---|---|",
    ]
    for dataset, metrics in metrics_by_dataset.items():
        for row in result_rows(dataset, metrics):
            cells = " | ".join(_cell(row.cells[RANK_METRICS.index(name)]) for name in SHOWN)
            label = f"*{row.label}*" if row.is_bound else row.label
            lines.append(f"| {dataset} | {label} | {cells} | `{commands[dataset]}` |")
    compared = [
        _differences(dataset, metrics) for dataset, metrics in metrics_by_dataset.items() if differences(metrics)
    ]
    lines += ["", *compared] if compared else []
    return "\n".join(lines) + "\n"


def _differences(dataset: str, metrics: Metrics) -> str:
    """One line: how far MME-SID is from each baseline, over the same users."""
    parts = [
        f"{VERDICTS[row.verdict]} {row.baseline} ({row.difference:+.4f}, 95 % {row.low:+.4f} to {row.high:+.4f})"
        for row in differences(metrics)
    ]
    told = f"in {metric_label(MAIN_METRIC)} MME-SID is {', '.join(parts)}."
    return f"- `{dataset}`: {told}{_ties(metrics)}{_candidates(metrics)}"


def _ties(metrics: Metrics) -> str:
    """How much of the order is no order in time, where it is worth a word."""
    tied = number(part(metrics, "data").get("tied")) or 0.0
    return f" {100 * tied:.0f} % of its interactions share user and time with another." if tied >= MENTIONED else ""


def _candidates(metrics: Metrics) -> str:
    """Said where it is not as by default."""
    return " Its users' earlier items are candidates as well." if excludes_history(metrics) is False else ""


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    value = f"**{cell.value:.4f}**" if cell.best else f"{cell.value:.4f}"
    return f"{value} [{cell.interval[0]:.4f}, {cell.interval[1]:.4f}]" if cell.interval else value
