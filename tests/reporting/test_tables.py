import math
from typing import Any

import pytest

from mmesid.reporting import tables


def test_models_stand_in_their_order_and_the_oracle_last(metrics: dict[str, Any]) -> None:
    metrics["test"]["another"] = metrics["test"]["popularity"]
    rows = tables.result_rows("sample", metrics)
    assert [row.model for row in rows] == ["mme_sid", "sasrec", "popularity", "another", "oracle"]
    assert [row.reference for row in rows] == [False, False, False, False, True]


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


def test_oracle_share_is_relative_to_its_ndcg_at_10(metrics: dict[str, Any]) -> None:
    shares = {row.model: row.oracle_share for row in tables.result_rows("sample", metrics)}
    assert shares["mme_sid"] == pytest.approx(0.12 / 0.24)
    assert shares["oracle"] is None
    del metrics["test"]["oracle"]
    assert all(row.oracle_share is None for row in tables.result_rows("sample", metrics))


@pytest.mark.parametrize("adapter", tables.ADAPTERS)
def test_label_says_how_the_backbone_was_trained(metrics: dict[str, Any], adapter: str) -> None:
    label = tables.model_label("mme_sid", metrics | {"adapter": adapter})
    assert label == f"MME-SID ({tables.ADAPTERS[adapter]})"
    assert tables.model_label("sasrec", metrics) == "SASRec"


@pytest.mark.parametrize("broken", [{}, {"test": None}, {"test": {"mme_sid": None}}, {"test": {"x": {"mrr": "high"}}}])
def test_missing_metrics_give_no_rows(broken: dict[str, Any]) -> None:
    assert tables.result_rows("sample", broken) == []
    assert tables.comparisons(broken) == []
    assert tables.slice_tables(broken) == {}


def test_what_is_not_a_number_is_an_empty_cell(metrics: dict[str, Any]) -> None:
    metrics["test"]["mme_sid"] |= {"mrr": math.nan, "hr_at_5": None}
    row = tables.result_rows("sample", metrics)[0]
    assert [cell is None for cell in row.cells] == [False, False, False, True, False, False, True]


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.001, 0.1, "above"), (-0.001, 0.1, "undecided"), (-0.1, -0.001, "below")]
)
def test_a_verdict_needs_an_interval_without_zero(low: float, high: float, verdict: str) -> None:
    assert tables.Comparison("SASRec", 0.0, low, high, None, None).verdict == verdict


def test_comparisons_leave_the_oracle_out_and_are_relative_to_the_baseline(metrics: dict[str, Any]) -> None:
    (row,) = tables.comparisons(metrics)
    assert row.baseline == "SASRec"
    assert row.relative == pytest.approx(0.02 / 0.10)


def test_markdown_table_is_the_readme_table(metrics: dict[str, Any]) -> None:
    other = {"adapter": "full", "test": {"mme_sid": {"ndcg_at_10": 0.04}, "sasrec": {"ndcg_at_10": 0.05}}}
    assert tables.markdown_table({"sample": metrics, "beauty": other}) == (
        "| dataset | model | nDCG@5 | nDCG@10 |\n"
        "|---|---|---|---|\n"
        "| sample | MME-SID (LoRA) | **0.1200** [0.1100, 0.1300] | **0.1200** |\n"
        "| sample | SASRec | 0.1000 [0.0900, 0.1100] | 0.1000 |\n"
        "| sample | Popularity | 0.0300 [0.0200, 0.0400] | 0.0300 |\n"
        "| sample | *Oracle* | 0.2400 [0.2300, 0.2500] | 0.2400 |\n"
        "| beauty | MME-SID (all weights trained) | – | 0.0400 |\n"
        "| beauty | SASRec | – | **0.0500** |\n"
    )


def test_metric_names_are_printed_as_the_field_writes_them() -> None:
    assert [tables.metric_label(name) for name in ("ndcg_at_5", "hr_at_10", "mrr")] == ["nDCG@5", "HR@10", "MRR"]
