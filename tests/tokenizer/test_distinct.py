from itertools import permutations

import numpy as np
import pytest

from mmesid.tokenizer.distinct import distinct_codes

CODEBOOK = np.array([[0.0], [1.0], [2.0], [4.0]])


def code(prefix, residuals, kinds=None):
    """Nearest codes behind a given prefix, and what becomes of them."""
    residuals = np.array(residuals, dtype=float)[:, None]
    nearest = np.abs(residuals - CODEBOOK.T).argmin(1)
    codes = np.column_stack([prefix, nearest])
    kinds = np.arange(len(codes)) if kinds is None else np.array(kinds)
    return codes, distinct_codes(codes, residuals, CODEBOOK, kinds)


def test_items_of_one_id_take_the_nearest_codes_that_are_left():
    codes, found = code([7, 7, 7, 3], [0.8, 1.1, 4.0, 1.0])
    assert codes[:, 1].tolist() == [1, 1, 3, 1]
    assert found.tolist() == [[7, 0], [7, 1], [7, 3], [3, 1]], ".8 gives less up than 1.1 would"


def test_what_differs_stays_as_it_was():
    codes, found = code([0, 0, 1, 1], [0.0, 1.0, 0.0, 4.0])
    assert np.array_equal(codes, found)


def test_the_sum_of_distances_is_the_least_there_is():
    rng = np.random.default_rng(0)
    for _ in range(20):
        residuals = rng.uniform(0, 1.4, 3)
        _, found = code([5, 5, 5], residuals)
        cost = ((residuals[:, None] - CODEBOOK.T) ** 2)[np.arange(3), found[:, 1]].sum()
        least = min(
            sum((residuals[i] - CODEBOOK[k, 0]) ** 2 for i, k in enumerate(p)) for p in permutations(range(4), 3)
        )
        assert cost == pytest.approx(least)
        assert len(set(found[:, 1])) == 3


def test_items_that_nothing_tells_apart_stay_together():
    _, found = code([2, 2, 2], [1.0, 1.0, 1.05], kinds=[0, 0, 1])
    assert found[0].tolist() == found[1].tolist() != found[2].tolist()


def test_more_kinds_than_codes_keep_their_nearest():
    codes, found = code([2] * 5 + [9, 9], [1.0, 1.01, 1.02, 1.03, 1.04, 0.0, 0.1])
    assert np.array_equal(codes[:5], found[:5])
    assert len(set(found[5:, 1])) == 2


def test_one_level_is_parted_too():
    found = distinct_codes(np.array([[1], [1]]), np.array([[0.8], [1.1]]), CODEBOOK, np.arange(2))
    assert found[:, 0].tolist() == [0, 1]
