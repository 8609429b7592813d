"""SASRec's batches: every window once, alike lengths together, targets one behind their inputs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mmesid.artifacts.windows import Window, training_windows
from mmesid.encoders.batching import batches, collate, pad

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def windows_of(lengths: list[int], length: int) -> list[Window]:
    """Of sequences in which every item occurs once, so that a target names its place."""
    ends = np.cumsum(lengths)
    return training_windows([np.arange(end - n, end) + 1 for end, n in zip(ends, lengths, strict=True)], length)


@given(lengths, st.integers(1, 4), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_batches_hold_every_window_once(lengths: list[int], size: int, seed: int) -> None:
    windows = windows_of(lengths, 4)
    groups = batches(windows, size, np.random.default_rng(seed))
    assert sorted(id(window) for group in groups for window in group) == sorted(map(id, windows))
    assert all(0 < len(group) <= size for group in groups)


def test_windows_of_alike_length_stand_together_in_an_order_that_the_generator_draws() -> None:
    windows = windows_of(list(range(2, 66)), 100)  # one window each, of 1 to 64 items: a single pool of 16 batches
    groups = batches(windows, 4, np.random.default_rng(0))
    spans = [{len(window.items) for window in group} for group in groups]
    assert all(max(span) - min(span) == 3 for span in spans)
    assert spans != sorted(spans, key=min)
    other = batches(windows, 4, np.random.default_rng(1))
    assert [{len(window.items) for window in group} for group in other] != spans


@given(lengths, st.integers(2, 9))
@settings(max_examples=40, deadline=None)
def test_a_batch_predicts_each_target_from_the_item_before_it(lengths: list[int], length: int) -> None:
    windows = windows_of(lengths, length)
    if not windows:
        return
    batch = collate(windows)
    assert batch.items.shape == batch.targets.shape == (len(windows), max(len(window.items) for window in windows))
    counted = batch.targets > 0
    assert (batch.targets[counted] == batch.items[counted] + 1).all()  # a sequence counts up
    assert sorted(batch.targets[counted].tolist()) == sorted(int(x) for window in windows for x in window.labels)


def test_a_batch_by_hand() -> None:
    # T = 2, stride 1: inputs 8, 9 predict 10 alone, for the window before has predicted 9; the third window is short.
    batch = collate([*training_windows([np.array([7, 8, 9, 10])], 2), *training_windows([np.array([5, 6])], 2)])
    assert batch.items.tolist() == [[8, 9], [7, 8], [5, 0]]
    assert batch.targets.tolist() == [[0, 10], [8, 9], [6, 0]]


def test_padding_stands_behind() -> None:
    padded = pad([np.array([3]), np.array([1, 2, 3]), np.array([5, 6])])
    assert padded.tolist() == [[3, 0, 0], [1, 2, 3], [5, 6, 0]]
