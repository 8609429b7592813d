"""Each training position with an earlier item is a target once, in the window that gives it the longest history."""

import numpy as np
import pytest

from mmesid.recommender.windows import history_windows, training_windows


def _pairs(windows):
    return [
        (tuple(window.items[:seen].tolist()), int(label))
        for window in windows
        for seen, label in zip(window.visible.tolist(), window.labels, strict=True)
    ]


@pytest.mark.parametrize("length", [2, 3, 4, 7, 50])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8, 9, 20, 101])
def test_every_target_counts_once(n, length):
    sequence = np.arange(1, n + 1)
    labels = [label for _, label in _pairs(training_windows([sequence], length))]
    assert sorted(labels) == list(range(2, n + 1))


@pytest.mark.parametrize("length", [2, 3, 4, 7, 50])
def test_a_prefix_is_what_stands_before_its_target(length):
    for prefix, label in _pairs(training_windows([np.arange(1, 40)], length)):
        assert prefix == tuple(range(label - len(prefix), label))
        assert 1 <= len(prefix) < max(length, 2)


def test_no_window_would_give_a_longer_history():
    """T = 6, stride 3, 13 items: windows end at 13, 10, 7, 4; a target's earliest window is the best it can have."""
    length, n = 6, 13
    ends = range(n, 0, -3)
    best = {
        label: max(label - 1 - max(0, end - length) for end in ends if max(0, end - length) < label - 1 < end)
        for label in range(2, n + 1)
    }
    assert {label: len(prefix) for prefix, label in _pairs(training_windows([np.arange(1, n + 1)], length))} == best


def test_inference_sees_the_last_items_and_predicts_once():
    windows = history_windows([np.arange(1, 4), np.arange(1, 20)], 5)
    assert [window.items.tolist() for window in windows] == [[1, 2, 3], [15, 16, 17, 18, 19]]
    assert [window.visible.tolist() for window in windows] == [[3], [5]]
