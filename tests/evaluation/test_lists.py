"""Metrics of top lists: golden numbers by hand, the ends of their ranges, and that padding does not count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmesid.evaluation import lists
from mmesid.models import LIST_METRICS

# Four items. Training: item 1 five times, item 2 once, items 3 and 4 never.
FREQUENCY = np.array([0, 5, 1, 0, 0])
# Three users, two places; the last user has one candidate. Shown: item 1 three times, items 2 and 3 once, item 4 never.
LISTS = np.array([[1, 2], [1, 3], [1, 0]])


def test_coverage_by_hand() -> None:
    # Items 1, 2 and 3 of four are in a list.
    assert lists.coverage(LISTS, FREQUENCY) == 3 / 4


def test_novelty_by_hand() -> None:
    # p = (f + 1) / (6 + 4): 0.6, 0.2, 0.1, 0.1. Five places: three times item 1, item 2, item 3:
    # (3 * -log2 .6 - log2 .2 - log2 .1) / 5 = (3 * 0.736966 + 2.321928 + 3.321928) / 5 = 7.854753 / 5.
    assert lists.novelty(LISTS, FREQUENCY) == pytest.approx(1.570951, abs=1e-6)


def test_gini_by_hand() -> None:
    # Exposure ascending 0, 1, 1, 3; 2 i - N - 1 = -3, -1, 1, 3: (0 - 1 + 1 + 9) / (4 * 5) = 9 / 20.
    assert lists.gini(LISTS, FREQUENCY) == pytest.approx(9 / 20)


def test_even_exposure_is_zero_and_a_single_item_everything_but_its_share() -> None:
    even = np.array([[1, 2], [3, 4]])
    assert lists.gini(even, FREQUENCY) == 0
    assert lists.coverage(even, FREQUENCY) == 1
    one = np.array([[2], [2], [2]])
    assert lists.gini(one, FREQUENCY) == pytest.approx(3 / 4)  # (N - 1) / N
    assert lists.coverage(one, FREQUENCY) == 1 / 4


def test_lists_without_an_item_have_finite_metrics() -> None:
    empty = np.zeros((3, 2), np.int64)
    for metric in lists.METRICS.values():
        assert metric(empty, np.array([0, 4, 2])) == 0


def test_items_never_taken_are_the_most_novel_and_finite() -> None:
    unseen, popular = (lists.novelty(np.array([[item]]), FREQUENCY) for item in (4, 1))
    assert np.isfinite(unseen)
    assert unseen == pytest.approx(np.log2(10))
    assert unseen > popular
    nobody = np.zeros(5, dtype=np.int64)  # all alike: log2 N bits
    assert lists.novelty(LISTS, nobody) == pytest.approx(2)


@given(st.lists(st.lists(st.integers(1, 6), min_size=3, max_size=3, unique=True), min_size=1, max_size=8), st.data())
@settings(max_examples=40, deadline=None)
def test_padding_and_order_do_not_count_and_ranges_hold(rows: list[list[int]], data: st.DataObject) -> None:
    frequency = np.array([0, *data.draw(st.lists(st.integers(0, 9), min_size=6, max_size=6))])
    shuffled = np.array([data.draw(st.permutations(row)) for row in data.draw(st.permutations(rows))])
    padded = np.pad(shuffled, ((0, 1), (0, 2)))  # two places and a user without a candidate
    for metric in lists.METRICS.values():
        assert metric(padded, frequency) == pytest.approx(metric(np.array(rows), frequency))
    assert 0 < lists.coverage(padded, frequency) <= 1
    assert -1e-12 <= lists.gini(padded, frequency) <= 5 / 6
    assert lists.novelty(padded, frequency) > 0


def test_every_named_metric_is_computed_of_as_many_places_as_its_name_says() -> None:
    found = lists.summarize(LISTS, FREQUENCY, ["coverage_at_1", "coverage_at_2", "gini_at_1", "novelty_at_2"])
    assert found["coverage_at_1"] == 1 / 4  # the first place is item 1's alone
    assert found["coverage_at_2"] == 3 / 4
    assert found["gini_at_1"] == pytest.approx(3 / 4)
    assert found["novelty_at_2"] == lists.novelty(LISTS, FREQUENCY)
    assert tuple(lists.summarize(LISTS, FREQUENCY, LIST_METRICS)) == LIST_METRICS
