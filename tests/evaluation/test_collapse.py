import numpy as np
import pytest

from mmesid.evaluation.collapse import collapse


@pytest.fixture
def draw():
    return np.random.default_rng(0)


def test_a_narrow_embedding_projected_linearly_keeps_its_own_width(draw):
    # 8 dimensions projected into 128: rank 8, so 8 / 128 of the dimensions are kept, whatever the offset.
    matrix = draw.standard_normal((400, 8)) @ draw.standard_normal((8, 128)) + 5
    found = collapse(matrix.astype(np.float32))
    assert found.kept_dimensions == 8 / 128
    assert found.effective_rank <= 8.01


def test_singular_values_are_those_of_the_centred_matrix(draw):
    matrix = draw.standard_normal((60, 7)) + 3
    expected = np.linalg.svd(matrix - matrix.mean(0), compute_uv=False)
    np.testing.assert_allclose(collapse(matrix).singular_values, expected, rtol=1e-9)


def test_equal_directions_have_full_effective_rank():
    # Rows +-e_i: centred, four equal singular values, so p = 1/4 each and exp(entropy) = 4.
    found = collapse(np.vstack([np.eye(4), -np.eye(4)]))
    assert found.effective_rank == pytest.approx(4)
    assert found.kept_dimensions == 1


def test_the_threshold_is_one_percent_of_the_largest():
    scales = np.array([1.0, 0.011, 0.009])
    assert collapse(np.vstack([np.diag(scales), -np.diag(scales)])).kept_dimensions == pytest.approx(2 / 3)


def test_shift_scale_and_rotation_change_nothing(draw):
    matrix = draw.standard_normal((80, 6)) * [5, 4, 3, 2, 1, 0.01]
    rotation = np.linalg.qr(draw.standard_normal((6, 6)))[0]
    one, other = collapse(matrix), collapse(7 * matrix @ rotation + 2)
    assert other.effective_rank == pytest.approx(one.effective_rank)
    assert other.kept_dimensions == one.kept_dimensions == pytest.approx(5 / 6)


def test_fewer_items_than_dimensions_leave_the_rest_empty(draw):
    found = collapse(draw.standard_normal((5, 20)))
    assert len(found.singular_values) == 20
    assert found.kept_dimensions == 4 / 20  # five centred rows span four dimensions


def test_equal_items_are_fully_collapsed():
    for matrix in (np.full((9, 3), 0.1, np.float32), np.zeros((4, 3))):
        assert collapse(matrix)[1:] == (0.0, 0.0)


def test_the_summary_and_the_shares_are_relative_to_the_largest(draw):
    found = collapse(draw.standard_normal((30, 5)))
    assert found.summary() == {"effective_rank": found.effective_rank, "kept_dimensions": found.kept_dimensions}
    shares = found.shares()
    assert shares[0] == 1
    np.testing.assert_allclose(shares, found.singular_values / found.singular_values.max())


def test_items_that_are_all_equal_have_no_share():
    assert collapse(np.zeros((4, 3))).shares() == [0, 0, 0]
