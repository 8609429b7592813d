"""The contract of models that rank, and the one way to judge them: who is a candidate, ranks, top lists.

A model offers `Scores`: from the histories of some users the score of every item. Whatever ranks users (early stopping,
the evaluation, the promotion gate, a service) hands its scores to `judge` or `best`, which alone go over the users.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Scores = Callable[[Sequence[NDArray[np.int64]]], Tensor]  # histories of b users, oldest first -> (b, N + 1)

BATCH_USERS = 256  # scored at a time
BATCH_SCORES = 2**25  # scores held at a time, at most: 128 MB in float32


class Judged(NamedTuple):
    """What a model makes of each user."""

    ranks: NDArray[np.int64]  # (B,) of the target, 1 is best
    lists: NDArray[np.int64]  # (B, k) best items, best first; 0 where a user has fewer candidates


class Best(NamedTuple):
    """The best items of each user, best first; item 0 with score -inf where a user has fewer candidates."""

    items: NDArray[np.int64]  # (B, k)
    scores: NDArray[np.float32]  # (B, k)


def users_at_a_time(n_items: int, at_most: int = BATCH_USERS) -> int:
    """Users whose scores over N items fit into memory together."""
    return max(1, min(at_most, BATCH_SCORES // (n_items + 1)))


def judge(
    scores: Scores,
    histories: Sequence[NDArray[np.int64]],
    targets: NDArray[np.int64],
    exclude_history: bool,
    batch_users: int = BATCH_USERS,
    k: int = 0,
) -> Judged:
    """Rank each user's target among all items, and list the k best items.

    Args:
        scores: of the model.
        histories: each user's earlier items, ids 1..N, oldest first.
        targets: (B,), ids 1..N.
        exclude_history: whether earlier items leave the candidates.
        batch_users: users scored at a time.
        k: items of a list, at most N; 0 makes no lists.
    """
    ranks = np.empty(len(targets), dtype=np.int64)
    lists = np.zeros((len(targets), k), dtype=np.int64)
    for users, batch in _batches(scores, histories, batch_users):
        known = histories[users]
        ranks[users] = rank_targets(batch, torch.from_numpy(targets[users]), known, exclude_history).cpu().numpy()
        if k:
            lists[users] = top_k(batch, known, k, exclude_history)[0].cpu().numpy()
    return Judged(ranks, lists)


def best(
    scores: Scores,
    histories: Sequence[NDArray[np.int64]],
    k: int,
    exclude_history: bool,
    batch_users: int = BATCH_USERS,
) -> Best:
    """The k best items of each user.

    Args:
        scores: of the model.
        histories: each user's earlier items, ids 1..N, oldest first.
        k: at most N.
        exclude_history: whether earlier items leave the candidates.
        batch_users: users scored at a time.
    """
    items = np.zeros((len(histories), k), dtype=np.int64)
    item_scores = np.zeros((len(histories), k), dtype=np.float32)
    for users, batch in _batches(scores, histories, batch_users):
        found = top_k(batch, histories[users], k, exclude_history)
        items[users], item_scores[users] = found[0].cpu().numpy(), found[1].cpu().numpy()
    return Best(items, item_scores)


def rank_targets(
    scores: Tensor, targets: Tensor, histories: Sequence[NDArray[np.int64]], exclude_history: bool
) -> Tensor:
    """Rank of each user's target among the candidates: 1 + the number of other candidates that score at least as high.

    Ties count against the model. Padding is never a candidate. The user's earlier items are none either if
    `exclude_history`, except the target itself where it is a repeat.

    Args:
        scores: (B, N + 1), any column 0.
        targets: (B,), item ids 1..N.
        histories: each user's earlier items, ids 1..N (0 is ignored).
        exclude_history: whether earlier items leave the candidates.

    Returns:
        (B,) int64, from 1 to N.

    Raises:
        ValueError: a score is NaN, or a target is no item.
    """
    _check_scores(scores)
    targets = targets.to(scores.device)
    if len(targets) and not 1 <= int(targets.min()) <= int(targets.max()) < scores.shape[1]:
        raise ValueError(f"targets must lie in 1..{scores.shape[1] - 1}")
    target_scores = scores.gather(1, targets[:, None])  # (B, 1)
    rivals = _candidates(scores, histories, exclude_history).scatter_(1, targets[:, None], False)
    return 1 + ((scores >= target_scores) & rivals).sum(dim=1)


def top_k(
    scores: Tensor, histories: Sequence[NDArray[np.int64]], k: int, exclude_history: bool
) -> tuple[Tensor, Tensor]:
    """The k best candidates of each user, best first.

    Args:
        scores: (B, N + 1), any column 0.
        histories: each user's earlier items, ids 1..N (0 is ignored).
        k: items wanted, at most N.
        exclude_history: whether earlier items leave the candidates.

    Returns:
        items (B, k) and their scores (B, k); where a user has fewer candidates, item 0 with score -inf.

    Raises:
        ValueError: a score is NaN, or k is not in 1..N.
    """
    _check_scores(scores)
    if not 1 <= k < scores.shape[1]:
        raise ValueError(f"k must lie in 1..{scores.shape[1] - 1}, it is {k}")
    candidates = _candidates(scores, histories, exclude_history)
    best, items = scores.masked_fill(~candidates, -torch.inf).topk(k, dim=1)
    return items.where(candidates.gather(1, items), 0), best


def checkpoint_users(user_ids: Sequence[str]) -> NDArray[np.bool_]:
    """Split the validation users in two by a hash of their id, the same in every process and for every catalogue.

    Args:
        user_ids: (B,) the source's own ids.

    Returns:
        (B,) True: the user selects checkpoints. False: the user belongs to the promotion gate.
    """
    return np.array([hashlib.sha256(user.encode()).digest()[0] % 2 == 0 for user in user_ids], dtype=np.bool_)


def _batches(
    scores: Scores, histories: Sequence[NDArray[np.int64]], batch_users: int
) -> Iterator[tuple[slice, Tensor]]:
    """Which users, and their scores, (b, N + 1)."""
    for start in range(0, len(histories), batch_users):
        users = slice(start, start + batch_users)
        yield users, scores(histories[users])


def _check_scores(scores: Tensor) -> None:
    if scores[:, 1:].isnan().any():
        raise ValueError("scores hold NaN: the model has diverged, nothing can be ranked")


def _candidates(scores: Tensor, histories: Sequence[NDArray[np.int64]], exclude_history: bool) -> Tensor:
    """(B, N + 1) True where the item may be recommended to the user."""
    candidates = torch.ones_like(scores, dtype=torch.bool)
    if exclude_history and len(histories):
        rows = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
        columns = np.concatenate(histories).astype(np.int64)
        candidates[torch.from_numpy(rows).to(scores.device), torch.from_numpy(columns).to(scores.device)] = False
    candidates[:, 0] = False
    return candidates
