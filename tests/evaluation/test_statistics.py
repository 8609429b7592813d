import numpy as np
import pytest

from mmesid.evaluation.statistics import confidence_interval, paired_bootstrap


@pytest.fixture
def draw():
    return np.random.default_rng(0)


def test_the_interval_covers_the_true_mean_as_often_as_it_says(draw):
    # 400 samples of 100: the share covered has standard error sqrt(.95 * .05 / 400) = .011.
    covered = [
        low <= 1 <= high for low, high in (confidence_interval(x, 300, 0) for x in draw.exponential(1, (400, 100)))
    ]
    assert 0.89 <= np.mean(covered) <= 0.98


def test_the_interval_is_the_normal_one_for_many_users(draw):
    values = draw.standard_normal(5000)
    low, high = confidence_interval(values, 2000, 0)
    half = 1.96 * values.std() / np.sqrt(5000)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_equal_values_have_no_interval_and_more_users_a_narrower_one(draw):
    assert confidence_interval(np.full(10, 0.3), 100, 0) == pytest.approx((0.3, 0.3))
    few, many = (confidence_interval(draw.random(users), 500, 0) for users in (50, 5000))
    assert many[1] - many[0] < (few[1] - few[0]) / 5


def test_the_interval_moves_and_scales_with_the_values(draw):
    values = draw.random(200)
    low, high = confidence_interval(values, 500, 7)
    assert confidence_interval(3 * values + 1, 500, 7) == pytest.approx((3 * low + 1, 3 * high + 1))


def test_chunks_do_not_change_the_result(draw, monkeypatch):
    values = draw.random(100)
    whole = confidence_interval(values, 50, 0)
    monkeypatch.setattr("mmesid.evaluation.statistics.CHUNK", 700)
    assert confidence_interval(values, 50, 0) == whole


def test_swapping_the_models_swaps_the_signs(draw):
    a, b = draw.random((2, 300))
    there, back = paired_bootstrap(a, b, 400, 1), paired_bootstrap(b, a, 400, 1)
    assert back.difference == pytest.approx(-there.difference)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    assert back.p_value == there.p_value


def test_pairing_finds_a_small_steady_difference_that_spread_would_hide(draw):
    a = draw.random(200)
    found = paired_bootstrap(a + 0.01 + 0.01 * draw.standard_normal(200), a, 1000, 0)
    assert 0 < found.low < found.difference < found.high
    assert found.p_value == pytest.approx(2 / 1001)
    assert confidence_interval(a, 1000, 0)[1] - a.mean() > 0.02


def test_equal_models_differ_by_nothing(draw):
    a = draw.random(50)
    assert paired_bootstrap(a, a, 100, 0) == (0, 0, 0, 1)


def test_under_no_difference_p_values_are_uniform(draw):
    p_values = [paired_bootstrap(*draw.standard_normal((2, 60)), 200, 0).p_value for _ in range(300)]
    assert np.mean(np.array(p_values) < 0.1) == pytest.approx(0.1, abs=0.06)
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.06)


def test_no_users_or_unequal_users_are_errors(draw):
    with pytest.raises(ValueError, match="no user"):
        confidence_interval(np.array([]), 100, 0)
    with pytest.raises(ValueError, match="same users"):
        paired_bootstrap(np.ones(3), np.ones(4), 100, 0)
