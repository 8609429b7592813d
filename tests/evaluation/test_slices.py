import numpy as np
import pytest

from mmesid.evaluation.metrics import summarize
from mmesid.evaluation.slices import slices

RANKS = {"mme_sid": np.array([1, 3, 7, 50, 1]), "sasrec": np.array([2, 11, 1, 1, 1])}
VALUES = np.array([0, 5, 19, 20, 400])


def test_buckets_by_hand():
    # 5-19 holds users 1 and 2: MME-SID's ranks 3 and 7 give (1/2 + 1/3) / 2, SASRec's 11 and 1 give (0 + 1) / 2.
    table = slices(RANKS, VALUES, [0, 1, 5, 20])
    assert [(row["bucket"], row["users"]) for row in table] == [("0", 1), ("5-19", 2), ("20+", 2)]
    assert table[1] == {"bucket": "5-19", "users": 2, "mme_sid": pytest.approx(5 / 12), "sasrec": 0.5}
    assert table[2]["mme_sid"] == pytest.approx(0.5)


def test_one_bucket_is_the_whole_and_buckets_average_to_it():
    whole = slices(RANKS, VALUES, [0])[0]
    assert whole["bucket"] == "0+"
    table = slices(RANKS, VALUES, [0, 1, 5, 20])
    for model, ranks in RANKS.items():
        assert whole[model] == pytest.approx(summarize(ranks, ["ndcg_at_10"])["ndcg_at_10"])
        assert whole[model] == pytest.approx(sum(row["users"] * row[model] for row in table) / 5)


def test_permuting_users_and_bounds_changes_nothing():
    order = np.array([3, 0, 4, 2, 1])
    permuted = slices({model: ranks[order] for model, ranks in RANKS.items()}, VALUES[order], [20, 5, 0, 1])
    assert permuted == slices(RANKS, VALUES, [0, 1, 5, 20])


def test_users_below_the_first_bound_are_left_out():
    assert sum(row["users"] for row in slices(RANKS, VALUES, [1, 5])) == 4
    assert slices(RANKS, VALUES, [1000]) == []
