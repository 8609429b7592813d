import numpy as np
import pytest

from mmesid.evaluation import metrics
from mmesid.models import CUTOFFS, RANK_METRICS


def test_golden_values_by_hand():
    values = metrics.per_user(np.array([1, 3, 7, 21]), RANK_METRICS)
    # nDCG = 1 / log2(1 + rank): log2(2) = 1, log2(4) = 2, log2(8) = 3; rank 21 lies behind every cutoff.
    np.testing.assert_allclose(values["ndcg_at_5"], [1, 1 / 2, 0, 0])
    np.testing.assert_allclose(values["ndcg_at_10"], [1, 1 / 2, 1 / 3, 0])
    np.testing.assert_allclose(values["ndcg_at_20"], [1, 1 / 2, 1 / 3, 0])
    np.testing.assert_array_equal(values["hr_at_5"], [1, 1, 0, 0])
    np.testing.assert_array_equal(values["hr_at_10"], [1, 1, 1, 0])
    np.testing.assert_allclose(values["mrr"], [1, 1 / 3, 1 / 7, 1 / 21])


@pytest.mark.parametrize("k", CUTOFFS)
def test_the_cutoff_itself_is_a_hit_and_the_next_rank_is_none(k):
    values = metrics.per_user(np.array([k, k + 1]), [f"hr_at_{k}", f"ndcg_at_{k}"])
    np.testing.assert_array_equal(values[f"hr_at_{k}"], [1, 0])
    np.testing.assert_allclose(values[f"ndcg_at_{k}"], [1 / np.log2(k + 1), 0])


def test_summary_is_the_mean_over_users_under_the_same_names():
    ranks = np.array([1, 2, 30])
    summary = metrics.summarize(ranks, RANK_METRICS)
    assert tuple(summary) == tuple(metrics.per_user(ranks, RANK_METRICS)) == RANK_METRICS
    assert summary["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 30) / 3)
    assert summary["hr_at_5"] == pytest.approx(2 / 3)


def test_only_the_metrics_that_are_named_are_computed_whatever_their_cutoff():
    values = metrics.per_user(np.array([2, 3]), ["hr_at_2", "mrr"])
    assert list(values) == ["hr_at_2", "mrr"]
    np.testing.assert_array_equal(values["hr_at_2"], [1, 0])


@pytest.mark.parametrize("name", ["ndcg", "mrr_at_10", "recall_at_10"])
def test_a_metric_that_does_not_exist_is_an_error(name):
    with pytest.raises(KeyError):
        metrics.per_user(np.array([1]), [name])


def test_a_better_rank_never_lowers_a_metric():
    for values in metrics.per_user(np.arange(1, 40), RANK_METRICS).values():
        assert (np.diff(values) <= 0).all()


def test_rank_zero_and_no_users_are_errors():
    with pytest.raises(ValueError, match="start at 1"):
        metrics.per_user(np.array([0, 1]), ["mrr"])
    with pytest.raises(ValueError, match="no user"):
        metrics.summarize(np.array([], dtype=np.int64), ["mrr"])
