"""Full-catalogue ranking: who is a candidate, the target's rank, the best items, and which users select checkpoints."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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
