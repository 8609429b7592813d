import math

import pytest
import torch

from mmesid.tokenizer.losses import ALIGNMENT, RECONSTRUCTION, infonce, mmd, squared_distances


@pytest.fixture
def rows():
    return torch.randn(20, 5, generator=torch.Generator().manual_seed(0))


def test_gram_distances_are_the_distances(rows):
    other = rows[:7] * 2 - 1
    torch.testing.assert_close(squared_distances(rows, other), torch.cdist(rows, other) ** 2, atol=1e-4, rtol=1e-4)


def test_mmd_of_a_set_with_itself_is_zero_whatever_its_order(rows):
    assert mmd(rows, rows).item() == pytest.approx(0, abs=1e-5)
    assert mmd(rows, rows[torch.randperm(20)]).item() == pytest.approx(0, abs=1e-5)


def test_mmd_is_symmetric_and_grows_as_sets_part(rows):
    assert mmd(rows, rows + 1).item() == pytest.approx(mmd(rows + 1, rows).item(), rel=1e-5)
    assert 0 < mmd(rows, rows + 0.5) < mmd(rows, rows + 1) < mmd(rows, rows + 2)


def test_mmd_by_hand():
    # x = {0}, y = {1}: within distances 0 -> k = 5 (five Gaussians of 1); between 1. The mean over the joint set's four
    # pairs is (0 + 0 + 2 * 1) / 4 = 1/2, bandwidths 1/8 ... 2: k(x, y) = sum_j exp(-1 / b). MMD^2 = 5 + 5 - 2 k(x, y).
    between = sum(math.exp(-1 / width) for width in (1 / 8, 1 / 4, 1 / 2, 1, 2))
    assert mmd(torch.zeros(1, 1), torch.ones(1, 1)).item() == pytest.approx(10 - 2 * between, rel=1e-5)


def test_infonce_by_hand():
    # Orthogonal pairs at temperature 1: own logit 1, the other 0, so each term is log(1 + e^-1).
    assert infonce(torch.eye(2), torch.eye(2), 1.0).item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_infonce_prefers_the_right_pairing(rows):
    assert infonce(rows, rows * 3, 0.1) < infonce(rows, rows.flip(0), 0.1)


@pytest.mark.parametrize("name", RECONSTRUCTION)
def test_every_reconstruction_loss_is_least_at_the_original_and_pulls_towards_it(name, rows):
    guess = (rows + 0.3).requires_grad_()
    loss = RECONSTRUCTION[name](guess, rows)
    loss.backward()
    assert RECONSTRUCTION[name](rows, rows) < loss
    assert RECONSTRUCTION[name](guess.detach() - 0.1 * guess.grad, rows) < loss


@pytest.mark.parametrize("name", ALIGNMENT)
def test_every_alignment_loss_is_a_scalar_that_does_not_grow_downhill(name, rows):
    left = (rows * 0.5 + 1).requires_grad_()
    loss = ALIGNMENT[name](left, rows, 0.5)
    assert loss.shape == ()
    if name == "none":
        assert loss.item() == 0
        return
    loss.backward()
    assert ALIGNMENT[name](left.detach() - 0.1 * left.grad, rows, 0.5) < loss
