import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmesid.evaluation import ranking

NONE = np.array([], dtype=np.int64)


def offered(scores):
    """The contract's scores of users whose history begins with their own number, counted from 1."""
    return lambda histories: scores[torch.tensor([int(history[0]) - 1 for history in histories])]


def items(*ids: int) -> np.ndarray:
    return np.array(ids, dtype=np.int64)


@st.composite
def cases(draw):
    """Scores with many ties, targets and histories (which may hold the target) of a few users."""
    n_users, n_items = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    levels = st.lists(st.integers(-2, 2), min_size=n_items + 1, max_size=n_items + 1)
    ids = st.integers(1, n_items)
    scores = torch.tensor([draw(levels) for _ in range(n_users)], dtype=torch.float32)
    targets = torch.tensor([draw(ids) for _ in range(n_users)])
    histories = [np.array(draw(st.lists(ids, max_size=6)), dtype=np.int64) for _ in range(n_users)]
    return scores, targets, histories


def one_at_a_time(scores, targets, histories, exclude_history):
    """The definition, in plain Python."""
    ranks = []
    for row, target, history in zip(scores.tolist(), targets.tolist(), histories, strict=True):
        gone = set(history.tolist()) if exclude_history else set()
        rivals = [item for item in range(1, len(row)) if item != target and item not in gone]
        ranks.append(1 + sum(row[item] >= row[target] for item in rivals))
    return ranks


@given(cases(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_equals_the_definition(case, exclude_history):
    scores, targets, histories = case
    assert ranking.rank_targets(*case, exclude_history).tolist() == one_at_a_time(
        scores, targets, histories, exclude_history
    )


@given(cases(), st.integers(-5, 5))
@settings(max_examples=50, deadline=None)
def test_a_constant_added_to_all_scores_changes_nothing(case, constant):
    scores, targets, histories = case
    moved = ranking.rank_targets(scores + constant, targets, histories, True)
    assert torch.equal(moved, ranking.rank_targets(scores, targets, histories, True))


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_permuting_users_permutes_ranks(case, random):
    scores, targets, histories = case
    order = list(range(len(targets)))
    random.shuffle(order)
    permuted = ranking.rank_targets(scores[order], targets[order], [histories[u] for u in order], True)
    assert torch.equal(permuted, ranking.rank_targets(scores, targets, histories, True)[order])


def test_ties_count_against_the_model():
    scores = torch.zeros(1, 6)
    assert ranking.rank_targets(scores, torch.tensor([2]), [NONE], True).tolist() == [5]


def test_padding_is_no_candidate_whatever_its_score():
    for padding in (torch.inf, -torch.inf, torch.nan):
        scores = torch.tensor([[padding, 1.0, 2.0]])
        assert ranking.rank_targets(scores, torch.tensor([2]), [NONE], True).tolist() == [1]
        found, best = ranking.top_k(scores, [NONE], 2, True)
        assert found.tolist() == [[2, 1]]
        assert best.tolist() == [[2, 1]]


def test_earlier_items_leave_the_candidates_but_a_repeated_target_stays():
    scores = torch.tensor([[0.0, 9.0, 8.0, 7.0]])
    assert ranking.rank_targets(scores, torch.tensor([3]), [items(1, 2)], True).tolist() == [1]
    assert ranking.rank_targets(scores, torch.tensor([3]), [items(1, 2)], False).tolist() == [3]
    assert ranking.rank_targets(scores, torch.tensor([2]), [items(2, 1)], True).tolist() == [1]


def test_scores_are_not_changed():
    scores = torch.arange(8.0).view(2, 4)
    before = scores.clone()
    ranking.rank_targets(scores, torch.tensor([1, 2]), [items(3), items(1)], True)
    ranking.top_k(scores, [items(3), items(1)], 2, True)
    assert torch.equal(scores, before)


def test_nan_scores_are_an_error():
    scores = torch.tensor([[0.0, torch.nan, 1.0]])
    with pytest.raises(ValueError, match="NaN"):
        ranking.rank_targets(scores, torch.tensor([2]), [NONE], True)
    with pytest.raises(ValueError, match="NaN"):
        ranking.top_k(scores, [NONE], 1, True)


@pytest.mark.parametrize("target", [0, 3, -1])
def test_a_target_that_is_no_item_is_an_error(target):
    with pytest.raises(ValueError, match="targets"):
        ranking.rank_targets(torch.zeros(1, 3), torch.tensor([target]), [NONE], True)


@given(cases(), st.booleans())
@settings(max_examples=50, deadline=None)
def test_top_k_agrees_with_the_rank(case, exclude_history):
    """An item ranked r without ties stands at place r of the list."""
    scores, _, histories = case
    scores = scores + torch.arange(scores.shape[1]) / 100  # no ties
    found, best = ranking.top_k(scores, histories, scores.shape[1] - 1, exclude_history)
    for user, (row, values) in enumerate(zip(found.tolist(), best.tolist(), strict=True)):
        listed = [item for item in row if item]
        gone = set(histories[user].tolist()) if exclude_history else set()
        assert set(listed) == set(range(1, scores.shape[1])) - gone
        assert values[len(listed) :] == [-torch.inf] * (len(row) - len(listed))
        for place, item in enumerate(listed, start=1):
            rank = ranking.rank_targets(
                scores[user : user + 1], torch.tensor([item]), [histories[user]], exclude_history
            )
            assert rank.tolist() == [place]


@pytest.mark.parametrize("k", [0, 3])
def test_k_out_of_range_is_an_error(k):
    with pytest.raises(ValueError, match="k must lie"):
        ranking.top_k(torch.zeros(1, 3), [NONE], k, True)


def test_checkpoint_users_are_about_half_and_depend_on_the_id_alone():
    users = [f"user-{number}" for number in range(2000)]
    chosen = ranking.checkpoint_users(users)
    assert abs(chosen.mean() - 0.5) < 0.05  # 4.5 standard errors of a fair coin
    np.testing.assert_array_equal(ranking.checkpoint_users(users[::-1]), chosen[::-1])


def test_checkpoint_users_do_not_depend_on_the_process():
    # First bytes of the SHA-256 test vectors: "" e3 (odd), "abc" ba (even), "a" ca (even), "message digest" f7 (odd).
    assert ranking.checkpoint_users(["", "abc", "a", "message digest"]).tolist() == [False, True, True, False]


@st.composite
def judgings(draw):
    """As `cases`, with as many items as users or more, so that a history can say whose it is."""
    n_users = draw(st.integers(1, 7))
    n_items = draw(st.integers(n_users, 9))
    levels = st.lists(st.integers(-2, 2), min_size=n_items + 1, max_size=n_items + 1)
    ids = st.integers(1, n_items)
    scores = torch.tensor([draw(levels) for _ in range(n_users)], dtype=torch.float32)
    targets = np.array([draw(ids) for _ in range(n_users)])
    histories = [items(user + 1, *draw(st.lists(ids, max_size=5))) for user in range(n_users)]
    return scores, targets, histories


@given(judgings(), st.booleans(), st.integers(1, 9), st.data())
@settings(max_examples=60, deadline=None)
def test_judging_is_ranking_and_listing_one_user_at_a_time(case, exclude_history, batch_users, data):
    scores, targets, histories = case
    k = data.draw(st.integers(1, scores.shape[1] - 1))
    found = ranking.judge(offered(scores), histories, targets, exclude_history, batch_users, k)
    listed = ranking.best(offered(scores), histories, k, exclude_history, batch_users)
    for user, history in enumerate(histories):
        alone, target = scores[user : user + 1], torch.from_numpy(targets[user : user + 1])
        assert found.ranks[user] == ranking.rank_targets(alone, target, [history], exclude_history).item()
        best_items, best_scores = ranking.top_k(alone, [history], k, exclude_history)
        assert found.lists[user].tolist() == listed.items[user].tolist() == best_items[0].tolist()
        assert listed.scores[user].tolist() == best_scores[0].tolist()


def test_whether_the_history_is_left_out_reaches_ranks_and_lists():
    scores, histories, targets = torch.tensor([[0.0, 9.0, 8.0, 7.0]]), [items(1, 2)], items(3)
    apart = ranking.judge(offered(scores), histories, targets, exclude_history=True, k=3)
    assert (apart.ranks.tolist(), apart.lists.tolist()) == ([1], [[3, 0, 0]])
    among = ranking.judge(offered(scores), histories, targets, exclude_history=False, k=3)
    assert (among.ranks.tolist(), among.lists.tolist()) == ([3], [[1, 2, 3]])
    assert ranking.best(offered(scores), histories, 3, exclude_history=True).scores.tolist() == [[7, -np.inf, -np.inf]]
    assert ranking.best(offered(scores), histories, 3, exclude_history=False).items.tolist() == [[1, 2, 3]]


def test_no_lists_are_made_unless_asked_for():
    found = ranking.judge(offered(torch.zeros(2, 4)), [items(1), items(2)], items(3, 3), exclude_history=True)
    assert found.lists.shape == (2, 0)
    assert found.ranks.tolist() == [2, 2]


def test_nobody_is_judged_without_asking_the_model():
    found = ranking.judge(pytest.fail, [], items(), exclude_history=True, k=2)
    assert (found.ranks.shape, found.lists.shape) == ((0,), (0, 2))
    assert ranking.best(pytest.fail, [], 2, exclude_history=True).items.shape == (0, 2)


def test_a_model_is_asked_for_as_many_users_as_fit():
    asked = []

    def score(histories):
        asked.append(len(histories))
        return torch.zeros(len(histories), 4)

    ranking.judge(score, [items(1)] * 7, items(*[2] * 7), True, batch_users=3)
    assert asked == [3, 3, 1]
    assert ranking.users_at_a_time(100) == ranking.BATCH_USERS
    assert ranking.users_at_a_time(100, at_most=5) == 5
    assert ranking.users_at_a_time(1_000_000) == 33  # 2^25 scores over 1,000,001 columns
    assert ranking.users_at_a_time(2**26) == 1
