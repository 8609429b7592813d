import math

import numpy as np
import pytest
from scipy.stats import kendalltau

from mmesid.artifacts.values import Embedding, SemanticIds, Sequences
from mmesid.evaluation.forgetting import code_embeddings, forgetting, kendall_tau, order_kept


def angles(*degrees: float) -> np.ndarray:
    """Unit vectors in the plane; row 0 is padding. The similarity to 0 degrees falls as the angle grows."""
    radians = np.radians(degrees)
    return np.vstack([np.zeros(2), np.stack([np.cos(radians), np.sin(radians)], axis=1)]).astype(np.float32)


@pytest.fixture
def present():
    return np.array([False, True, True, True, True, True])


HISTORY, TARGET = [np.array([1, 2, 3, 4])], np.array([5])


def test_four_items_by_hand(present):
    # Original order of similarity to item 5: 1 > 2 > 3 > 4. Coded: 1 > 3 > 2 > 4: one of six pairs is turned round,
    # tau = (5 - 1) / 6.
    original, coded = angles(10, 20, 30, 40, 0), angles(10, 30, 20, 40, 0)
    assert order_kept(original, coded, present, HISTORY, TARGET, 10, 0) == pytest.approx(4 / 6)


def test_ties_count_as_tau_b_counts_them(present):
    # Coded: items 1 and 2 tie. Five of six pairs are concordant, none is discordant: 5 / sqrt(6 * 5).
    original, coded = angles(10, 20, 30, 40, 0), angles(10, 10, 30, 40, 0)
    assert order_kept(original, coded, present, HISTORY, TARGET, 10, 0) == pytest.approx(5 / math.sqrt(30))


def test_a_kept_order_is_one_a_reversed_one_minus_one_a_lost_one_zero(present):
    original = angles(10, 20, 30, 40, 0)
    others = [(3 * original, 1.0), (angles(40, 30, 20, 10, 0), -1.0), (np.ones_like(original), 0.0)]
    for coded, expected in others:
        assert order_kept(original, coded, present, HISTORY, TARGET, 10, 0) == pytest.approx(expected)


def test_random_codes_keep_nothing():
    draw = np.random.default_rng(0)
    original, coded = draw.standard_normal((201, 16)), draw.standard_normal((201, 8))
    histories = [draw.choice(np.arange(1, 200), 12, replace=False) for _ in range(400)]
    targets = np.full(400, 200)
    kept = order_kept(original, coded, np.arange(201) > 0, histories, targets, 400, 0)
    assert abs(kept) < 0.25  # one target: its neighbourhoods are shared, so chance spreads
    targets = draw.integers(1, 201, 400)
    assert abs(order_kept(original, coded, np.arange(201) > 0, histories, targets, 400, 0)) < 0.05


def test_tau_equals_scipys_on_ties_and_without():
    draw = np.random.default_rng(0)
    for levels in (3, 5, 1000):
        for n in (3, 8, 60):
            x, y = draw.integers(levels, size=(2, n)).astype(float)
            x[:2] = 0, 1
            y[:2] = 0, 1
            assert kendall_tau(x, y) == pytest.approx(kendalltau(x, y).statistic)


def test_absent_and_repeated_items_and_the_target_itself_do_not_count(present):
    original, coded = angles(10, 20, 30, 40, 0), angles(10, 30, 20, 40, 0)
    repeated = [np.array([1, 2, 2, 5, 3, 1, 4])]
    assert order_kept(original, coded, present, repeated, TARGET, 10, 0) == pytest.approx(4 / 6)
    present[2] = False  # the pair (2, 3) leaves: the order of the rest is kept
    original[2] = np.nan
    assert order_kept(original, coded, present, HISTORY, TARGET, 10, 0) == pytest.approx(1)


def test_users_without_an_order_are_passed_over(present):
    original, coded = angles(10, 20, 30, 40, 0), angles(40, 30, 20, 10, 0)
    histories, targets = [*HISTORY, np.array([1, 2])], np.array([5, 5])
    assert order_kept(original, coded, present, histories, targets, 10, 0) == pytest.approx(-1)
    assert math.isnan(order_kept(original, coded, present, histories[1:], targets[1:], 10, 0))
    assert math.isnan(order_kept(np.ones_like(original), coded, present, HISTORY, TARGET, 10, 0))
    present[5] = False
    assert math.isnan(order_kept(original, coded, present, HISTORY, TARGET, 10, 0))


def test_the_sample_of_users_follows_the_seed():
    draw = np.random.default_rng(0)
    original, coded = draw.standard_normal((2, 50, 6))
    histories = [draw.choice(np.arange(1, 50), 8, replace=False) for _ in range(60)]
    arguments = (original, coded, np.arange(50) > 0, histories, draw.integers(1, 50, 60))
    assert order_kept(*arguments, 10, 3) == order_kept(*arguments, 10, 3)
    assert order_kept(*arguments, 10, 3) != order_kept(*arguments, 10, 4)
    assert order_kept(*arguments, 60, 3) == pytest.approx(order_kept(*arguments, 99, 4))


def test_code_embeddings_are_sums_of_rows():
    tables = np.arange(12.0).reshape(2, 3, 2)  # (Q, K, d)
    coded = code_embeddings(np.array([[0, 0], [2, 1]]), tables)
    np.testing.assert_array_equal(coded, [tables[0, 0] + tables[1, 0], tables[0, 2] + tables[1, 1]])


def test_forgetting_is_the_order_that_each_set_of_tables_keeps_by_modality(present):
    embedding = Embedding(angles(10, 20, 30, 40, 0), present)
    codes = np.arange(6)[:, None]  # every item has a code of its own
    absent = Embedding(embedding.matrix, np.array([False, True, True, False, False, True]))  # two of three items needed
    ids = SemanticIds({"text": codes, "image": codes}, {}, {"text": present, "image": absent.present})
    coded = {"kept": angles(10, 20, 30, 40, 0)[None], "turned": angles(40, 30, 20, 10, 0)[None]}  # (1, K, d)
    sets = {name: {"text": table, "image": table} for name, table in coded.items()}
    sequences = Sequences(["u"], [np.array([1, 2, 3, 4, 5])], 5)
    found = forgetting({"text": embedding, "image": absent}, ids, sets, sequences, 10, 0)
    assert found == {"text": {"kept": pytest.approx(1), "turned": pytest.approx(-1)}, "image": dict.fromkeys(sets)}
