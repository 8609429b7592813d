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
