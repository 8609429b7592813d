"""Pictures become vectors without a trained model."""

import numpy as np
import pytest

from mmesid.encoders import pixels
from mmesid.errors import DataError


def test_equal_pictures_are_near_and_absent_ones_are_masked(toy) -> None:
    found = pixels.encode([*toy.pictures, toy.pictures[5]], 8, seed=0)
    assert found.matrix.shape == (202, 8)
    assert found.present.tolist() == [False, False, *[True] * 200]
    assert not found.matrix[~found.present].any()
    assert np.linalg.norm(found.matrix[found.present], axis=1) == pytest.approx(1, abs=1e-5)
    assert found.matrix[201] == pytest.approx(found.matrix[6], abs=1e-5)


def test_neighbours_share_colour_and_place_far_above_chance(toy) -> None:
    vectors = pixels.encode(toy.pictures, 16, seed=0).matrix[2:]
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    same = toy.shared[1:][similarity.argmax(axis=1)] == toy.shared[1:]
    assert same.mean() > 0.9  # by chance 1 of 16


def test_fewer_pictures_than_dimensions_give_a_narrower_embedding(toy) -> None:
    assert pixels.encode(toy.pictures[1:4], 64, seed=0).matrix.shape == (4, 3)


def test_pictures_that_all_look_the_same_are_an_error(toy) -> None:
    with pytest.raises(DataError, match=r"set encode_content\.image to none"):
        pixels.encode([toy.pictures[1]] * 3, 4, seed=0)
