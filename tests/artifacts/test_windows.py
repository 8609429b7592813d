"""Each training position with an earlier item is a target once, in the window that gives it the longest history."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmesid.artifacts.windows import Window, history_windows, training_windows

lengths = st.lists(st.integers(0, 60), min_size=1, max_size=6)


def sequences_of(lengths: list[int]) -> list[np.ndarray]:
    """Every item occurs once, so that a target names its place."""
    ends = np.cumsum(lengths)
    return [np.arange(end - length, end) + 1 for end, length in zip(ends, lengths, strict=True)]


def pairs(windows: list[Window]) -> list[tuple[list[int], int]]:
    """What is seen before each target, and the target."""
    return [
        (window.items[:seen].tolist(), int(label))
        for window in windows
        for seen, label in zip(window.visible.tolist(), window.labels, strict=True)
    ]


@given(lengths, st.integers(2, 9))
@settings(max_examples=60, deadline=None)
def test_every_item_with_an_earlier_one_is_a_target_exactly_once(lengths: list[int], length: int) -> None:
    sequences = sequences_of(lengths)
    labels = [label for _, label in pairs(training_windows(sequences, length))]
    assert sorted(labels) == sorted(item for sequence in sequences for item in sequence[1:].tolist())


@given(lengths, st.integers(2, 9))
@settings(max_examples=60, deadline=None)
def test_no_window_has_more_than_t_inputs_and_a_prefix_is_what_stands_before_its_target(
    lengths: list[int], length: int
) -> None:
    sequences = sequences_of(lengths)
    windows = training_windows(sequences, length)
    assert all(1 <= len(window.items) <= length for window in windows)
    user_of = {item: user for user, sequence in enumerate(sequences) for item in sequence.tolist()}
    for prefix, label in pairs(windows):
        assert prefix == list(range(label - len(prefix), label))
        assert {user_of[item] for item in prefix} == {user_of[label]}


@given(st.integers(2, 60), st.integers(2, 9))
@settings(max_examples=60, deadline=None)
def test_a_target_counts_in_the_window_that_gives_it_the_longest_history(n: int, length: int) -> None:
    windows = training_windows([np.arange(1, n + 1)], length)
    for prefix, label in pairs(windows):
        others = [label - window.items[0] for window in windows if window.items[0] < label <= window.items[-1] + 1]
        assert len(prefix) == max(others)
        assert len(prefix) >= min(label - 1, length - length // 2 + 1)  # a stride behind the window before it


def test_the_last_target_sees_all_that_inference_would_show() -> None:
    for n in (2, 5, 6, 7, 30):
        sequence = np.arange(1, n + 1)
        (shown,) = history_windows([sequence[:-1]], 5)
        seen = {label: prefix for prefix, label in pairs(training_windows([sequence], 5))}
        assert seen[n] == shown.items.tolist() == list(range(max(1, n - 5), n))


def test_windows_of_a_long_sequence_by_hand() -> None:
    # 10 items, T = 4, stride 2, from the end: inputs 6..9 predict 9 and 10 alone, for the window before, inputs 4..7,
    # predicts 7 and 8; inputs 2..5 predict 5 and 6; inputs 1..3 predict the three that are left.
    windows = training_windows([np.arange(1, 11)], 4)
    found = [(window.items.tolist(), window.visible.tolist(), window.labels.tolist()) for window in windows]
    assert found == [
        ([6, 7, 8, 9], [3, 4], [9, 10]),
        ([4, 5, 6, 7], [3, 4], [7, 8]),
        ([2, 3, 4, 5], [3, 4], [5, 6]),
        ([1, 2, 3], [1, 2, 3], [2, 3, 4]),
    ]


@pytest.mark.parametrize("n", [0, 1])
def test_a_sequence_without_a_target_has_no_window(n: int) -> None:
    assert training_windows([np.arange(1, n + 1)], 4) == []


def test_inference_sees_the_last_t_items_and_predicts_once() -> None:
    windows = history_windows([np.arange(1, 4), np.arange(1, 20)], 5)
    assert [window.items.tolist() for window in windows] == [[1, 2, 3], [15, 16, 17, 18, 19]]
    assert [window.visible.tolist() for window in windows] == [[3], [5]]
    assert [window.labels.tolist() for window in windows] == [[0], [0]]
