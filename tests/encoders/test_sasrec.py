import numpy as np
import pytest
import torch

from mmesid.encoders import sasrec
from mmesid.encoders.sasrec import Sasrec


@pytest.fixture
def model() -> Sasrec:
    torch.manual_seed(0)
    return Sasrec(n_items=20, width=16, blocks=2, heads=2, dropout=0.5, history_length=8).eval()


HISTORIES = torch.tensor([[3, 1, 4, 0, 0], [1, 5, 9, 2, 6], [7, 0, 0, 0, 0]])
LAST = torch.tensor([2, 4, 0])


def scores(model: Sasrec, items: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.score(model(items)[torch.arange(len(items)), last])


def test_permuting_users_permutes_scores(model):
    order = torch.tensor([2, 0, 1])
    permuted = scores(model, HISTORIES[order], LAST[order])
    torch.testing.assert_close(permuted, scores(model, HISTORIES, LAST)[order])


def test_more_padding_changes_no_score(model):
    wider = torch.nn.functional.pad(HISTORIES, (0, 3))
    torch.testing.assert_close(scores(model, wider, LAST), scores(model, HISTORIES, LAST))


def test_a_user_alone_scores_as_in_the_batch(model):
    alone = scores(model, torch.tensor([[3, 1, 4]]), torch.tensor([2]))
    torch.testing.assert_close(alone, scores(model, HISTORIES, LAST)[:1])


def test_a_position_does_not_see_later_items(model):
    changed = HISTORIES.clone()
    changed[1, 3:] = torch.tensor([11, 12])
    with torch.no_grad():
        torch.testing.assert_close(model(changed)[1, :3], model(HISTORIES)[1, :3])
        assert not torch.allclose(model(changed)[1, 3:], model(HISTORIES)[1, 3:])


def test_a_position_does_not_see_that_later_items_exist(model):
    with torch.no_grad():
        torch.testing.assert_close(model(HISTORIES[1:2, :3]), model(HISTORIES[1:2])[:, :3])


def test_the_order_of_the_history_matters(model):
    swapped = HISTORIES[1:2].flip(1)
    assert not torch.allclose(scores(model, swapped, LAST[1:2]), scores(model, HISTORIES[1:2], LAST[1:2]))


def test_padding_is_zero_and_never_a_candidate(model):
    assert torch.equal(model.items.weight[0], torch.zeros(16))
    found = scores(model, HISTORIES, LAST)
    assert (found[:, 0] == -torch.inf).all()
    assert found[:, 1:].isfinite().all()


def test_a_reloaded_state_gives_identical_scores(model):
    torch.manual_seed(1)
    other = Sasrec(n_items=20, width=16, blocks=2, heads=2, dropout=0.5, history_length=8).eval()
    assert not torch.equal(scores(other, HISTORIES, LAST), scores(model, HISTORIES, LAST))
    other.load_state_dict(model.state_dict())
    assert torch.equal(scores(other, HISTORIES, LAST), scores(model, HISTORIES, LAST))


def test_the_scorer_gives_each_user_what_the_model_gives(model, monkeypatch):
    histories = [row[row > 0].numpy() for row in HISTORIES]
    expected = scores(model, HISTORIES, LAST)
    torch.testing.assert_close(sasrec.scorer(model)(histories), expected)
    monkeypatch.setattr(sasrec, "USERS", 2)  # users of alike length together, then in their own order again
    torch.testing.assert_close(sasrec.scorer(model)(histories), expected)


def test_scoring_draws_no_dropout_even_in_the_middle_of_training(model):
    histories = [np.array([3, 1, 4])]
    expected = sasrec.scorer(model)(histories)
    score = sasrec.scorer(model)
    model.train()
    assert torch.equal(score(histories), expected)


def test_attention_sees_distances_and_not_places():
    """Rotated vectors' products stay when both move by the same number of places, and change with their distance."""
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 8, generator=generator).double()
    queries, keys = (sasrec.rotate(vector.expand(12, 8)) for vector in (query, key))
    products = queries @ keys.T  # (12, 12), of each pair of places
    for distance in range(4):
        diagonal = products.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-6)
    assert products.diagonal(0)[0] == pytest.approx(float(query @ key))
    assert products.diagonal(-1)[0] != pytest.approx(float(products.diagonal(0)[0]), abs=1e-3)


@pytest.mark.parametrize("width", [1, 7, 8])
def test_rotation_keeps_lengths(width):
    x = torch.randn(3, 5, width, generator=torch.Generator().manual_seed(0))
    assert sasrec.rotate(x).shape == x.shape
    torch.testing.assert_close(sasrec.rotate(x).norm(dim=-1), x.norm(dim=-1))


def test_scores_are_products_of_normed_users_and_items_over_the_temperature(model):
    """The norm's gain starts at 1, so a user's components have a root mean square of 1 / .07."""
    with torch.no_grad():
        users = model(HISTORIES[1:2])[0]
    torch.testing.assert_close(users.square().mean(dim=1).sqrt(), torch.full((5,), 1 / 0.07), rtol=1e-4, atol=0)
    torch.testing.assert_close(model.score(users)[:, 3], users @ model.items.weight[3])


def test_an_untrained_model_already_tells_items_apart():
    """Scores of a new table have a deviation of .02 sqrt(D) / .07, 2.3 of width 64: a softmax learns from the start."""
    torch.manual_seed(0)
    model = Sasrec(n_items=2000, width=64, blocks=2, heads=1, dropout=0.5, history_length=8).eval()
    found = scores(model, HISTORIES, LAST)[:, 1:]
    assert found.std().item() == pytest.approx(0.02 * 8 / 0.07, rel=0.1)


def test_the_size_of_an_items_row_does_not_change_how_it_enters(model):
    with torch.no_grad():
        before = model(HISTORIES)
        model.items.weight.mul_(3.0)
        torch.testing.assert_close(model(HISTORIES), before, rtol=1e-2, atol=1e-2)
