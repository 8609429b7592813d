import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mmesid.encoders import windows

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def sequences_of(lengths: list[int]) -> list[np.ndarray]:
    """Every item occurs once, so that a target names its place."""
    ends = np.cumsum(lengths)
    return [np.arange(end - length, end) + 1 for end, length in zip(ends, lengths, strict=True)]


@given(lengths, st.integers(2, 9))
@settings(max_examples=60, deadline=None)
def test_every_item_with_an_earlier_one_is_a_target_exactly_once(lengths, history_length):
    sequences = sequences_of(lengths)
    batch = windows.collate(cut, sequences) if (cut := windows.cut(sequences, history_length)) else None
    found = [] if batch is None else sorted(batch.targets[batch.targets > 0].tolist())
    assert found == sorted(item for sequence in sequences for item in sequence[1:].tolist())


@given(st.integers(2, 60), st.integers(2, 9))
@settings(max_examples=60, deadline=None)
def test_a_target_counts_in_the_window_that_gives_it_the_longest_history(length, history_length):
    cut = windows.cut(sequences_of([length]), history_length)
    for window in cut:
        assert 0 < window.stop - window.start <= history_length
        for place in range(window.first, window.stop):
            given_here = place - window.start
            assert all(place - other.start <= given_here for other in cut if other.start <= place < other.stop)


def test_windows_of_a_long_sequence_by_hand():
    # 10 items, T = 4, stride 2, from the end: inputs 5..8 predict 6..9, and the two that the window before lacks count.
    cut = windows.cut(sequences_of([10]), 4)
    assert [tuple(window)[1:] for window in cut] == [(5, 9, 7), (3, 7, 5), (1, 5, 3), (0, 3, 0)]


@given(lengths, st.integers(1, 4), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_batches_hold_every_window_once(lengths, size, seed):
    cut = windows.cut(sequences_of(lengths), 4)
    groups = windows.batches(cut, size, np.random.default_rng(seed))
    assert sorted(window for group in groups for window in group) == sorted(cut)
    assert all(0 < len(group) <= size for group in groups)


def test_inputs_and_targets_are_shifted_by_one():
    batch = windows.collate(windows.cut([np.array([7, 8, 9])], 5), [np.array([7, 8, 9])])
    assert batch.items.tolist() == [[7, 8]]
    assert batch.targets.tolist() == [[8, 9]]


def test_inference_sees_every_user_once_and_the_last_items_only():
    sequences = sequences_of([3, 9, 1])
    seen = {}
    for users, items in windows.histories(sequences, 4, 2):
        seen |= {int(user): row[row > 0].tolist() for user, row in zip(users, items, strict=True)}
    assert seen == {user: sequence[-4:].tolist() for user, sequence in enumerate(sequences)}
