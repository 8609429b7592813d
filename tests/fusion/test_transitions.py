"""The memory is the formula's, whatever the way in which it is counted."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mmesid.artifacts.values import Sequences, Transitions
from mmesid.fusion import transitions as module
from mmesid.fusion.transitions import BACKWARD, COLUMN_POWER, REACH, ROW_POWER, transitions

Histories = list[NDArray[np.int64]]


def dense(memory: Transitions) -> NDArray[np.float32]:
    rows = len(memory.starts) - 1
    matrix = np.zeros((rows, rows), dtype=np.float32)
    matrix[np.repeat(np.arange(rows), np.diff(memory.starts)), memory.items] = memory.weights
    return matrix


def by_loops(histories: Histories, n_items: int) -> NDArray[np.float64]:
    forward = np.zeros((n_items + 1, n_items + 1))
    for history in histories:
        for place, item in enumerate(history):
            for distance, other in enumerate(history[place + 1 : place + 1 + REACH], start=1):
                forward[item, other] += 1 / distance
    both = forward + BACKWARD * forward.T
    row, column = both.sum(1) + 1, both.sum(0) + 1
    return row[:, None] ** -ROW_POWER * both * column[None, :] ** -COLUMN_POWER


def test_by_hand() -> None:
    # Histories 1 2 3 and 2 1. F: 1->2 1, 1->3 1/2, 2->3 1, 2->1 1. M = F + .1 F^T: 1->2 1.1, 1->3 .5, 2->1 1.1,
    # 2->3 1, 3->1 .05, 3->2 .1. Sums + 1 of the rows 2.6, 3.1, 1.15; of the columns 2.15, 2.2, 2.5.
    found = dense(transitions([np.array([1, 2, 3]), np.array([2, 1])], 3, 10))
    values = np.array([[0, 1.1, 0.5], [1.1, 0, 1], [0.05, 0.1, 0]])
    scale = np.array([2.6, 3.1, 1.15])[:, None] ** -0.5 * np.array([2.15, 2.2, 2.5])[None] ** -0.2
    np.testing.assert_allclose(found[1:, 1:], values * scale, rtol=1e-6)
    assert not found[0].any()
    assert not found[:, 0].any()


@pytest.mark.parametrize("chunk", [1, 60, 500_000])
def test_it_is_what_loops_give(chunk: int, sequences: Sequences, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    draw = np.random.default_rng(3)
    longer = [draw.integers(1, 31, 70), draw.integers(1, 31, 60)]  # with repeats
    histories = [*sequences.train(), *longer, np.zeros(0, dtype=np.int64)]
    np.testing.assert_allclose(dense(transitions(histories, 30, 1000)), by_loops(histories, 30), rtol=1e-5)


def test_the_strongest_neighbors_are_kept_of_equal_ones_the_first(sequences: Sequences) -> None:
    whole = by_loops(sequences.train(), 30).astype(np.float32)
    memory = transitions(sequences.train(), 30, 4)
    for item in range(1, 31):
        order = np.lexsort((np.arange(31), -whole[item]))[:4]
        expected = np.sort(order[whole[item][order] > 0])
        np.testing.assert_array_equal(memory.items[memory.starts[item] : memory.starts[item + 1]], expected)
    tied = transitions([np.array([1, other]) for other in (5, 4, 3, 2)], 5, 2)
    assert tied.items[tied.starts[1] : tied.starts[2]].tolist() == [2, 3]


def test_items_that_nobody_took_have_no_neighbors() -> None:
    memory = transitions([np.array([2, 4])], 6, 5)
    assert np.diff(memory.starts).tolist() == [0, 0, 1, 0, 1, 0, 0]
    assert transitions([], 3, 5).starts.tolist() == [0] * 5
