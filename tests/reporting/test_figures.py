from typing import Any
from xml.etree import ElementTree

import numpy as np

from mmesid.artifacts.values import SemanticIds
from mmesid.reporting import figures, svg, tables
from mmesid.reporting.html import DatasetReport


def draw(report: DatasetReport) -> dict[str, str | None]:
    rows = tables.result_rows(report.name, report.metrics)
    (title, buckets), *_ = [*tables.slice_tables(report.metrics).items(), ("", [])]
    return {
        "overview": figures.overview("a", {report.name: rows}),
        "training": figures.training("finetune", report.curves.get("finetune", [])),
        "spectrum": figures.spectrum("a", report.spectra),
        "code use": figures.code_use("a", report.codes),
        "forgetting": figures.forgetting("a", tables.part(report.metrics, "forgetting")),
        "slices": figures.slices("a", title, buckets),
        "fusion": figures.fusion_weights("a", tables.fusion_bins(report.metrics), tables.fusion_tables(report.metrics)),
    }


def test_every_figure_is_one_well_formed_svg_in_the_colours_of_the_theme(report: DatasetReport) -> None:
    for name, figure in draw(report).items():
        assert figure is not None, name
        root = ElementTree.fromstring(figure)
        assert root.tag == "svg"
        assert root.get("aria-label")
        assert "var(--ink)" in figure, name
        assert "#0d01" not in figure, name
        assert "#000000" not in figure, name


def test_nothing_known_gives_no_figure(bare: DatasetReport) -> None:
    assert set(draw(bare).values()) == {None}


def test_descriptions_are_escaped() -> None:
    with svg.drawing("a"):
        figure, _ = svg.panels(1, 2, 2)
        text = svg.to_svg(figure, '"><script> & more')
    assert ElementTree.fromstring(text).get("aria-label") == '"><script> & more'


def test_text_is_never_read_as_mathematics() -> None:
    figure = figures.spectrum("a", {"$\\frac$": [1.0, 0.5]})
    assert figure is not None
    assert "$\\frac$" in figure


def test_a_long_curve_is_averaged_down() -> None:
    curves = [{"step": float(step), "loss": float(step % 2)} for step in range(10_000)]
    (steps, values) = figures._series(curves, ["loss"], smooth=True)["loss"]
    assert len(steps) == figures.POINTS
    np.testing.assert_allclose(values, 0.5)


def test_the_best_validation_of_a_long_curve_is_the_best_there_was() -> None:
    values = [0.1 + 0.05 * (step == 173) for step in range(401)]
    curves = [{"step": float(step), "valid_ndcg_at_10": value} for step, value in enumerate(values)]
    figure = figures.training("a", curves)
    assert figure is not None
    assert "0.1500" in figure


def test_curves_skip_what_is_not_finite() -> None:
    curves = [{"step": 1.0, "loss": float("nan")}, {"step": 2.0, "loss": 1.0}]
    (steps, _) = figures._series(curves, ["loss"], smooth=True)["loss"]
    assert steps.tolist() == [2.0]


def test_code_counts_leave_out_padding_and_absent_items() -> None:
    codes = np.array([[0, 0], [1, 0], [1, 2], [0, 0]])
    present = np.array([False, True, True, False])
    ids = SemanticIds({"text": codes}, {"text": np.zeros((2, 3, 4), dtype=np.float32)}, {"text": present})
    assert figures.code_counts(ids)["text"].tolist() == [[0, 2, 0], [1, 0, 1]]


def test_order_kept_may_lack_a_value(metrics: dict[str, Any]) -> None:
    metrics["forgetting"]["text"]["tau_finetuned"] = None
    figure = figures.forgetting("a", metrics["forgetting"])
    assert figure is not None
    assert "0.40" in figure
