"""From judgements to metrics.json: what stands in it, and that its last bits are no noise."""

import numpy as np
import pytest

from mmesid.artifacts.values import Sequences
from mmesid.config import load
from mmesid.evaluation import summary
from mmesid.evaluation.metrics import summarize
from mmesid.evaluation.ranking import Judged, checkpoint_users
from mmesid.models import LIST_METRICS, MAIN_BASELINE, MAIN_MODEL, RANK_METRICS, TESTED_METRICS

USERS, ITEMS = 40, 30
SETTINGS = load("sample").evaluate.model_copy(update={"bootstrap": 100})


@pytest.fixture
def sequences() -> Sequences:
    draw = np.random.default_rng(0)
    items = [draw.integers(1, ITEMS + 1, draw.integers(3, 12)) for _ in range(USERS)]
    return Sequences([f"u{user}" for user in range(USERS)], items, ITEMS)


@pytest.fixture
def judged() -> dict[str, Judged]:
    draw = np.random.default_rng(1)
    highest = {MAIN_MODEL: 5, MAIN_BASELINE: 12, "popularity": ITEMS}
    return {
        model: Judged(draw.integers(1, high + 1, USERS), draw.integers(1, ITEMS + 1, (USERS, summary.LIST_LENGTH)))
        for model, high in highest.items()
    }


def test_every_model_has_every_metric_and_an_interval_around_those_that_are_tested(
    judged: dict[str, Judged], sequences: Sequences
) -> None:
    found = summary.split_summary(judged, sequences, "test", SETTINGS, 0)
    assert found.pop("users") == USERS
    assert list(found) == list(judged)
    for model, scores in found.items():
        assert set(scores) - {"vs"} == {*RANK_METRICS, *LIST_METRICS, "ci95"}
        assert scores.items() >= summarize(judged[model].ranks, RANK_METRICS).items()
        assert set(scores["ci95"]) == set(TESTED_METRICS)
        for name, (low, high) in scores["ci95"].items():
            assert low <= scores[name] <= high


def test_the_main_model_alone_is_compared_and_with_every_other_one(
    judged: dict[str, Judged], sequences: Sequences
) -> None:
    found = summary.split_summary(judged, sequences, "test", SETTINGS, 0)
    del found["users"]
    assert [model for model in found if "vs" in found[model]] == [MAIN_MODEL]
    assert set(found[MAIN_MODEL]["vs"]) == {MAIN_BASELINE, "popularity"}
    difference = found[MAIN_MODEL]["vs"]["popularity"]
    gain = found[MAIN_MODEL]["ndcg_at_10"] - found["popularity"]["ndcg_at_10"]
    assert difference["difference"] == pytest.approx(gain)
    assert 0 < difference["low"] < gain < difference["high"]


def test_validation_is_reported_of_the_gates_users_alone(judged: dict[str, Judged], sequences: Sequences) -> None:
    """Whatever becomes of the others, on whom checkpoints and weights were chosen."""
    found = summary.split_summary(judged, sequences, "valid", SETTINGS, 0)
    mine = checkpoint_users(sequences.user_ids)
    assert 0 < found["users"] == (~mine).sum() < USERS
    worse = {model: Judged(every.ranks.copy(), every.lists.copy()) for model, every in judged.items()}
    for every in worse.values():
        every.ranks[mine] = ITEMS
        every.lists[mine] = 1
    assert summary.split_summary(worse, sequences, "valid", SETTINGS, 0) == found


def test_users_who_have_had_all_else_have_no_choice() -> None:
    rows = [[1, 2, 3, 4], [1, 2, 2, 4], [4, 3, 4, 1, 2, 3], [1, 2, 3, 2]]  # the target may be a repeat
    sequences = Sequences(list("abcd"), [np.array(row) for row in rows], 4)
    assert summary.without_choice(sequences, "test") == 2
    assert summary.without_choice(sequences, "valid") == 1
    assert summary.repeated_targets(sequences, "test") == 2
    assert summary.repeated_targets(sequences, "valid") == 1


def test_slices_compare_every_row_over_all_users(judged: dict[str, Judged], sequences: Sequences) -> None:
    found = summary.slice_summary(judged, sequences, "test", SETTINGS)
    assert set(found) == {"item_frequency", "history_length"}
    for rows in found.values():
        assert all(set(row) == {"bucket", "users", *judged} for row in rows)
        assert sum(row["users"] for row in rows) == USERS


def test_ranks_stand_in_one_frame_users_in_order(judged: dict[str, Judged]) -> None:
    better = {model: found._replace(ranks=np.ones(USERS, dtype=np.int64)) for model, found in judged.items()}
    frame = summary.ranks_frame({"valid": judged, "test": better})
    assert list(frame.columns) == ["user", "split", "model", "rank"]
    assert len(frame) == 2 * 3 * USERS
    for model, found in judged.items():
        rows = frame[(frame["split"] == "valid") & (frame["model"] == model)]
        assert rows["user"].tolist() == list(range(USERS))
        assert rows["rank"].tolist() == found.ranks.tolist()
    assert set(frame[frame["split"] == "test"]["rank"]) == {1}


def test_the_data_by_hand() -> None:
    two = Sequences(["a", "b"], [np.array([1, 2, 3]), np.array([4, 1])], 5)
    expected = {"users": 2, "items": 5, "interactions": 5, "sparsity": 1 - 5 / 10, "tied": 0.4}
    assert summary.data_summary(two, 0.4) == expected
    again = Sequences(["a", "b"], [np.array([1, 2] * 10), np.array([2, 1] * 10)], 2)
    assert summary.data_summary(again, 0.0)["sparsity"] == 0


def test_fractions_have_six_decimals_wherever_they_stand_and_nothing_else_changes() -> None:
    tree = {
        "a": 1 / 3,
        "b": [2 / 3, {"c": 0.1234564999, "d": (1e-9, -0.00000051)}],
        "e": 12345678901234567890,
        "f": None,
        "g": "0.123456789",
        "h": True,
    }
    found = summary.rounded(tree)
    assert found == {
        "a": 0.333333,
        "b": [0.666667, {"c": 0.123456, "d": [0.0, -0.000001]}],
        "e": 12345678901234567890,
        "f": None,
        "g": "0.123456789",
        "h": True,
    }
    assert isinstance(found["e"], int)
    assert found["h"] is True
    assert summary.rounded(found) == found
    assert isinstance(summary.rounded(np.float64(1 / 3)), float)


def test_lists_are_as_long_as_the_longest_that_a_metric_asks_for() -> None:
    assert all(int(name.partition("_at_")[2]) <= summary.LIST_LENGTH for name in LIST_METRICS)
