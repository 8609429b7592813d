import torch

from mmesid.tokenizer.kmeans import kmeans_centres


def test_separated_groups_get_one_centre_each():
    groups = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = groups.repeat_interleave(20, 0) + 0.1 * torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    centres = kmeans_centres(points, 3, seed=0)
    assert torch.cdist(groups, centres).min(1).values.max() < 0.2


def test_fewer_distinct_points_than_centres_makes_each_a_centre():
    points = torch.tensor([[1.0], [2.0], [1.0], [2.0], [1.0]])
    assert set(kmeans_centres(points, 4, seed=0).flatten().tolist()) == {1.0, 2.0}


def test_the_seed_decides():
    points = torch.randn(80, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(kmeans_centres(points, 5, seed=1), kmeans_centres(points, 5, seed=1))
    assert not torch.equal(kmeans_centres(points, 5, seed=1), kmeans_centres(points, 5, seed=2))
