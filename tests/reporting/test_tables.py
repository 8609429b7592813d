import math
from typing import Any

import pytest

from mmesid.models import LIST_METRICS
from mmesid.reporting import tables


def test_models_stand_in_their_order_and_the_oracle_last(metrics: dict[str, Any]) -> None:
    metrics["test"]["another"] = metrics["test"]["popularity"]
    rows = tables.result_rows("sample", metrics)
    assert [row.model for row in rows] == ["mme_sid", "sasrec", "popularity", "another", "oracle"]
    assert [row.is_bound for row in rows] == [False, False, False, False, True]


def test_best_competitor_is_marked_and_never_the_oracle(metrics: dict[str, Any]) -> None:
    metrics["test"]["sasrec"]["mrr"] = 0.2
    marked = {row.model: [cell.best for cell in row.cells if cell] for row in tables.result_rows("sample", metrics)}
    assert marked["mme_sid"] == [True] * 6 + [False]
    assert marked["sasrec"] == [False] * 6 + [True]
    assert not any(marked["popularity"] + marked["oracle"])


def test_a_tie_marks_both(metrics: dict[str, Any]) -> None:
    metrics["test"]["sasrec"]["mrr"] = metrics["test"]["mme_sid"]["mrr"]
    rows = {row.model: row for row in tables.result_rows("sample", metrics)}
    assert rows["mme_sid"].cells[-1].best
    assert rows["sasrec"].cells[-1].best


def test_the_share_of_the_bound_is_relative_to_its_ndcg_at_10(metrics: dict[str, Any]) -> None:
    shares = {row.model: row.share_of_bound for row in tables.result_rows("sample", metrics)}
    assert shares["mme_sid"] == pytest.approx(0.12 / 0.24)
    assert shares["oracle"] is None
    del metrics["test"]["oracle"]
    assert all(row.share_of_bound is None for row in tables.result_rows("sample", metrics))


@pytest.mark.parametrize("adapter", tables.ADAPTERS)
def test_label_says_how_the_backbone_was_trained(metrics: dict[str, Any], adapter: str) -> None:
    label = tables.row_label("mme_sid", metrics | {"adapter": adapter})
    assert label == f"MME-SID ({tables.ADAPTERS[adapter]})"
    assert tables.row_label("sasrec", metrics) == "SASRec"


@pytest.mark.parametrize("broken", [{}, {"test": None}, {"test": {"mme_sid": None}}, {"test": {"x": {"mrr": "high"}}}])
def test_missing_metrics_give_no_rows(broken: dict[str, Any]) -> None:
    assert tables.result_rows("sample", broken) == []
    assert tables.differences(broken) == []
    assert tables.slice_tables(broken) == {}


def test_what_is_not_a_number_is_an_empty_cell(metrics: dict[str, Any]) -> None:
    metrics["test"]["mme_sid"] |= {"mrr": math.nan, "hr_at_5": None}
    row = tables.result_rows("sample", metrics)[0]
    assert [cell is None for cell in row.cells] == [False, False, False, True, False, False, True]


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.001, 0.1, "above"), (-0.001, 0.1, "undecided"), (-0.1, -0.001, "below")]
)
def test_a_verdict_needs_an_interval_without_zero(low: float, high: float, verdict: str) -> None:
    assert tables.BaselineDifference("SASRec", 0.0, low, high, None, None).verdict == verdict


def test_differences_leave_the_oracle_out_and_are_relative_to_the_baseline(metrics: dict[str, Any]) -> None:
    (row,) = tables.differences(metrics)
    assert row.baseline == "SASRec"
    assert row.relative == pytest.approx(0.02 / 0.10)


def test_what_lies_beyond_accuracy_has_no_best_and_may_be_missing(metrics: dict[str, Any]) -> None:
    del metrics["test"]["sasrec"]["gini_at_10"]
    metrics["test"]["popularity"]["novelty_at_10"] = math.nan
    found = {row.model: row.beyond_accuracy for row in tables.result_rows("sample", metrics)}
    assert found["mme_sid"] == pytest.approx([0.24, 6.0, 0.88])  # in the order of LIST_METRICS
    assert found["sasrec"][2] is None
    assert found["popularity"][1] is None
    assert all(len(values) == len(LIST_METRICS) for values in found.values())


def test_every_baseline_that_was_compared_has_a_difference(metrics: dict[str, Any]) -> None:
    paired = metrics["test"]["mme_sid"]["vs"]
    metrics["test"]["mme_sid"]["vs"] = {**paired, "popularity": {"difference": 0.09, "low": -0.01, "high": 0.2}}
    found = tables.differences(metrics)
    assert [row.baseline for row in found] == ["SASRec", "Popularity"]
    assert [row.verdict for row in found] == ["above", "undecided"]
    assert found[1].p_value is None
    assert found[1].relative == pytest.approx(3.0)


def test_slices_are_turned_round_with_every_known_row(metrics: dict[str, Any]) -> None:
    (first, _) = tables.slice_tables(metrics).values()
    assert tables.slice_rows([*first, {"bucket": "5+", "users": 3, "sasrec": 0.5, "another": 1.0}]) == [
        ("MME-SID", [0.1, None]),
        ("SASRec", [0.08, 0.5]),
    ]
    assert tables.slice_rows([]) == []


def test_weights_of_late_fusion_stand_by_bin(metrics: dict[str, Any]) -> None:
    assert tables.fusion_bins(metrics) == ["0-3", "4-19", "20+"]
    assert list(tables.fusion_tables(metrics)) == ["mme_sid", "evidence"]
    assert tables.fusion_tables(metrics)["mme_sid"] == {"transitions": [1.0, 0.5, -0.2], "text": [1.0, 0.5, -0.2]}
    assert tables.fusion_bins({}) == []
    assert tables.fusion_tables({}) == {}
