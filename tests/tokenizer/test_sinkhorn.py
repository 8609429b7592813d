import torch

from mmesid.tokenizer.losses import squared_distances
from mmesid.tokenizer.sinkhorn import balanced_codes

EPSILON, ITERATIONS = 0.003, 50


def distances(rows: int, codes: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return squared_distances(torch.randn(rows, 4, generator=draw), torch.randn(codes, 4, generator=draw))


def test_codes_share_the_rows_evenly_where_the_nearest_codes_do_not():
    # Seven of the eight codes lie far out: the nearest code is almost always the first one.
    draw = torch.Generator().manual_seed(0)
    codebook = torch.cat([torch.zeros(1, 4), 5 + torch.rand(7, 4, generator=draw)])
    cost = squared_distances(torch.randn(160, 4, generator=draw), codebook)
    nearest = torch.bincount(cost.argmin(1), minlength=8)
    balanced = torch.bincount(balanced_codes(cost, EPSILON, 2000), minlength=8)
    assert nearest.max() > 150
    assert balanced.min() >= 15
    assert balanced.max() <= 25


def test_an_even_assignment_stays_the_nearest():
    cost = squared_distances(torch.eye(4).repeat(3, 1), torch.eye(4))
    assert torch.equal(balanced_codes(cost, EPSILON, ITERATIONS), cost.argmin(1))


def test_scale_and_row_offsets_of_the_distances_do_not_matter():
    cost = distances(40, 5)
    assert torch.equal(balanced_codes(cost, EPSILON, ITERATIONS), balanced_codes(cost * 1000, EPSILON, ITERATIONS))


def test_permuting_rows_permutes_their_codes():
    cost, order = distances(40, 5), torch.randperm(40)
    assert torch.equal(
        balanced_codes(cost, EPSILON, ITERATIONS)[order], balanced_codes(cost[order], EPSILON, ITERATIONS)
    )


def test_equal_distances_and_tiny_epsilon_give_codes_in_range():
    for cost, epsilon in ((torch.ones(6, 3), EPSILON), (distances(30, 4), 1e-6)):
        codes = balanced_codes(cost, epsilon, ITERATIONS)
        assert codes.min() >= 0
        assert codes.max() < cost.shape[1]
