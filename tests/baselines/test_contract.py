"""What every row of the results table keeps to: scores of a batch of histories, a user's own whoever else is there."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmesid.artifacts.values import Prepared
from mmesid.baselines import BASELINES
from mmesid.evaluation.ranking import Scores, judge
from mmesid.models import MAIN_MODEL, MODELS, NETWORK_MODEL
from tests.tiny_world import N_ITEMS, USERS

HISTORY = 5  # T, see conftest
Histories = Sequence[NDArray[np.int64]]

every_row = pytest.mark.parametrize("name", [MAIN_MODEL, NETWORK_MODEL, *BASELINES])


@pytest.fixture(scope="module")
def histories(prepared: Prepared) -> Histories:
    found = prepared.sequences.history("test")
    assert min(map(len, found)) < HISTORY < max(map(len, found))
    return found


def scored(score: Scores, histories: Histories) -> torch.Tensor:
    """Without the padding's column, in which anything may stand."""
    return score(histories)[:, 1:].clone()


@every_row
def test_a_batch_has_a_finite_score_of_every_item_and_no_gradient(
    name: str, rows: Callable[[str], Scores], histories: Histories
) -> None:
    for users in (1, 7, USERS):
        found = rows(name)(histories[:users])
        assert found.shape == (users, N_ITEMS + 1)
        assert found.is_floating_point()
        assert found[:, 1:].isfinite().all()
        assert not found.requires_grad


@every_row
def test_permuting_users_permutes_scores(name: str, rows: Callable[[str], Scores], histories: Histories) -> None:
    order = np.random.default_rng(1).permutation(USERS)
    permuted = scored(rows(name), [histories[user] for user in order])
    torch.testing.assert_close(permuted, scored(rows(name), histories)[torch.from_numpy(order)], atol=1e-4, rtol=1e-4)


@every_row
def test_a_batch_gives_what_single_users_give(name: str, rows: Callable[[str], Scores], histories: Histories) -> None:
    some = histories[:30]
    alone = torch.cat([scored(rows(name), [history]) for history in some])
    torch.testing.assert_close(scored(rows(name), some), alone, atol=1e-4, rtol=1e-4)


@every_row
def test_what_lies_further_back_than_t_items_does_not_matter(
    name: str, rows: Callable[[str], Scores], histories: Histories
) -> None:
    recent = [history[-HISTORY:] for history in histories if len(history) >= HISTORY]
    longer = [np.concatenate([[1, 2, 3], history]) for history in recent]
    torch.testing.assert_close(scored(rows(name), longer), scored(rows(name), recent), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("popularity", "oracle")])
def test_the_oldest_of_t_items_still_counts(name: str, rows: Callable[[str], Scores]) -> None:
    first, second = (scored(rows(name), [np.array([oldest, 3, 4, 5, 6])]) for oldest in (1, 2))
    assert not torch.allclose(first, second, atol=1e-4)


@every_row
def test_scoring_twice_gives_the_same(name: str, rows: Callable[[str], Scores], histories: Histories) -> None:
    assert torch.equal(scored(rows(name), histories), scored(rows(name), histories))


@every_row
def test_judging_leaves_a_rows_scores_as_they_are(
    name: str, rows: Callable[[str], Scores], histories: Histories, prepared: Prepared
) -> None:
    before = scored(rows(name), histories)
    found = judge(rows(name), histories, prepared.sequences.target("test"), exclude_history=True, batch_users=50, k=10)
    assert ((found.ranks >= 1) & (found.ranks <= N_ITEMS)).all()
    assert found.lists.shape == (USERS, 10)
    assert torch.equal(scored(rows(name), histories), before)
