"""The report: one HTML page that needs nothing beside itself."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment
from markupsafe import Markup
from numpy.typing import NDArray

from mmesid.artifacts.claims import Finding
from mmesid.artifacts.values import Curves
from mmesid.models import LIST_METRICS, MAIN_MODEL, RANK_METRICS, metric_label
from mmesid.reporting import claims, figures, jinja, tables, vitals
from mmesid.reporting.document import html_view
from mmesid.reporting.examples import Example

PANELS = 3  # datasets beside each other in the overview


class DatasetReport(NamedTuple):
    """What is known about one dataset; all but the name and the metrics may be empty.

    metrics: as `reports/<dataset>/metrics.json` holds them.
    curves: training curves by stage.
    spectra: singular values of item embeddings, by name.
    codes: items that carry each code, by modality, each (Q, K).
    examples: users with pictures.
    """

    name: str
    metrics: dict[str, Any]
    curves: Mapping[str, Curves]
    spectra: Mapping[str, Sequence[float]]
    codes: Mapping[str, NDArray[np.int64]]
    examples: Sequence[Example]


def render(reports: Sequence[DatasetReport], version: str, findings: Sequence[Finding] = ()) -> str:
    """The page over all datasets, with the paper's claims where some were judged; equal reports give equal bytes."""
    results = {report.name: tables.result_rows(report.name, report.metrics) for report in reports}
    template = environment().get_template("report.html.j2")
    return template.render(
        version=version,
        columns=[metric_label(name) for name in RANK_METRICS],
        list_columns=[metric_label(name) for name in LIST_METRICS],
        main_model=MAIN_MODEL,
        overviews=_overviews(results),
        datasets=[_view(report) for report in reports],
        claims=html_view(claims.section(findings)) if findings else None,
    )


def _overviews(results: Mapping[str, list[tables.ResultRow]]) -> list[Markup]:
    names = list(results)
    chunks = [names[start : start + PANELS] for start in range(0, len(names), PANELS)]
    drawn = [figures.overview(chunk[0], {name: results[name] for name in chunk}) for chunk in chunks]
    return [Markup(figure) for figure in drawn if figure]


def _view(report: DatasetReport) -> dict[str, Any]:
    """Tables and figures of one dataset, by the names under which the template uses them."""
    metrics = report.metrics
    name = report.name
    return {
        "name": name,
        "metrics": metrics,
        "data": tables.part(metrics, "data"),
        "candidates": tables.CANDIDATES[tables.excludes_history(metrics)],
        "results": tables.result_rows(name, metrics),
        "valid": tables.result_rows(name, metrics, "valid"),
        "differences": tables.differences(metrics),
        "training": _training(report),
        "backbone": vitals.backbone(metrics),
        "vitals": vitals.rows(report.curves.get("finetune", [])),
        "tokenizer": _tokenizer(metrics),
        "code_use": _inline(figures.code_use(name, report.codes)),
        "spectrum": _inline(figures.spectrum(name, report.spectra)),
        "collapse": tables.part(metrics, "collapse"),
        "forgetting": _inline(figures.forgetting(name, tables.part(metrics, "forgetting"))),
        "slices": [_slice(name, title, rows) for title, rows in tables.slice_tables(metrics).items()],
        "fusion": _inline(figures.fusion_weights(name, tables.fusion_bins(metrics), tables.fusion_tables(metrics))),
        "valid_users": tables.part(metrics, "valid").get("users"),
        "examples": report.examples,
    }


def _slice(name: str, title: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A kind of slice: its figure, and the values of every model."""
    return {
        "title": title,
        "figure": _inline(figures.slices(f"{name}-{title}", title, rows)),
        "buckets": rows,
        "models": tables.slice_rows(rows),
    }


def _training(report: DatasetReport) -> list[tuple[str, Markup, bool]]:
    """Label and figure of each stage that was trained, and whether it has a validation curve, which takes room."""
    drawn = []
    for stage, label in tables.STAGES.items():
        curves = report.curves.get(stage, [])
        if figure := figures.training(f"{report.name}-{stage}", curves):
            validated = any(name.startswith("valid_") for entry in curves for name in entry)
            drawn.append((label, Markup(figure), validated))
    return drawn


def _tokenizer(metrics: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Diagnostics by modality, as they are printed."""
    rows = tables.by_modality(tables.part(metrics, "tokenizer"), tables.TOKENIZER)
    formats = [diagnostic.text for diagnostic in tables.TOKENIZER.values()]
    return [
        (modality, ["–" if value is None else text.format(value) for value, text in zip(values, formats, strict=True)])
        for modality, values in rows
    ]


def environment() -> Environment:
    """The report's look: its filters, and the names of its columns."""
    made = jinja.environment({"percent": _percent, "signed": _signed})
    made.globals["tokenizer_columns"] = [diagnostic.label for diagnostic in tables.TOKENIZER.values()]
    return made


def _inline(figure: str | None) -> Markup | None:
    """Our own SVG, whose text matplotlib has escaped."""
    return Markup(figure) if figure else None


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")
