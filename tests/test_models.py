"""Every name of a model or metric stands for something that can be computed, and nothing is computed without a name."""

from typing import get_args

import numpy as np

from mmesid.artifacts.baselines import curves_of
from mmesid.baselines import BASELINES
from mmesid.baselines.rivals import RIVALS
from mmesid.config.values import Rival
from mmesid.evaluation import lists
from mmesid.evaluation.metrics import summarize
from mmesid.models import (
    BRIEF_METRICS,
    CUTOFFS,
    EVIDENCE_MODEL,
    FUSED_BASELINE,
    LIST_METRICS,
    MAIN_BASELINE,
    MAIN_METRIC,
    MAIN_MODEL,
    MODELS,
    NETWORK_MODEL,
    RANK_METRICS,
    TESTED_METRICS,
    fused_late,
    metric_label,
    model_label,
    with_role,
)
from mmesid.reporting import tables


def test_the_models_are_the_main_one_and_every_baseline() -> None:
    assert set(MODELS) == {MAIN_MODEL, NETWORK_MODEL, *BASELINES}
    assert not {MAIN_MODEL, NETWORK_MODEL} & set(BASELINES)
    assert {EVIDENCE_MODEL, FUSED_BASELINE} <= set(BASELINES)
    assert with_role("model") == [MAIN_MODEL]
    assert with_role("model", "part", "rival", "baseline", "bound") == list(MODELS)


def test_the_gate_demands_of_a_first_champion_to_beat_other_systems_as_they_are() -> None:
    assert with_role("baseline") == [MAIN_BASELINE, "popularity"]
    assert with_role("part") == [NETWORK_MODEL, EVIDENCE_MODEL]
    assert with_role("rival") == ["content_transformer_fused", "content_transformer", FUSED_BASELINE]


def test_each_rival_that_may_be_listed_has_a_row_of_its_own_and_a_fused_one() -> None:
    assert set(get_args(Rival)) == set(RIVALS)
    listed = {name for name, model in MODELS.items() if model.listed}
    assert listed == {*RIVALS, *map(fused_late, RIVALS)}
    assert listed <= set(with_role("rival"))
    assert fused_late(MAIN_BASELINE) == FUSED_BASELINE
    assert all(curves_of(name) in tables.STAGES for name in RIVALS)


def test_every_metric_of_ranks_can_be_computed() -> None:
    assert list(summarize(np.array([1, 3]), RANK_METRICS)) == list(RANK_METRICS)
    assert {name.partition("_at_")[2] for name in RANK_METRICS} == {"", *map(str, CUTOFFS)}


def test_every_metric_of_lists_can_be_computed() -> None:
    found = lists.summarize(np.tile(np.arange(1, 11), (3, 1)), np.arange(21), LIST_METRICS)
    assert list(found) == list(LIST_METRICS)
    assert np.isfinite(list(found.values())).all()
    assert {name.partition("_at_")[0] for name in LIST_METRICS} == set(lists.METRICS)


def test_metrics_that_are_tested_or_shown_are_metrics_of_ranks() -> None:
    assert MAIN_METRIC in TESTED_METRICS
    assert {*TESTED_METRICS, *BRIEF_METRICS} <= set(RANK_METRICS)


def test_names_are_printed_as_the_field_writes_them() -> None:
    names = ("ndcg_at_5", "hr_at_10", "mrr", "gini_at_10", "coverage_at_10", "novelty_at_10")
    assert [metric_label(name) for name in names] == ["nDCG@5", "HR@10", "MRR", "Gini@10", "coverage@10", "novelty@10"]
    assert model_label(MAIN_MODEL) == "MME-SID"
    assert model_label("another") == "another"
