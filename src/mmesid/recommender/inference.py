"""Scores and recommendations for many users: the one way that evaluation, the command line and serving share."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.evaluation.ranking import rank_targets, top_k
from mmesid.recommender.model import PromptCache, Recommender
from mmesid.recommender.packing import order_of_windows, pack
from mmesid.recommender.windows import history_windows

_ROW_TOKENS = 256
_BLOCK_SCORES = 2**25  # scores held at a time


class Recommendations(NamedTuple):
    """The best items of each user, best first."""

    items: NDArray[np.int64]  # (B, k)
    scores: NDArray[np.float32]  # (B, k)


@torch.inference_mode()
def represent(model: Recommender, histories: Sequence[NDArray[np.int64]], prompt: PromptCache | None = None) -> Tensor:
    """User representations, (B, C), in the order of `histories`; only the last T items of each count.

    Args:
        model: a recommender in evaluation mode.
        histories: item ids 1..N, oldest first.
        prompt: its `prompt_cache`, where many calls share it.
    """
    prompt = prompt or model.prompt_cache()
    windows = history_windows(histories, model.blueprint.history_length)
    packing = model.blueprint.prompt._replace(before=[]), _ROW_TOKENS
    batch = pack(windows, *packing).to(model.item_table.device)
    order = torch.from_numpy(order_of_windows(windows, *packing))
    hidden = torch.empty(len(histories), model.blueprint.hidden, device=model.item_table.device)
    hidden[order] = model.represent(batch, prompt)
    return hidden


def score_batches(
    model: Recommender, histories: Sequence[NDArray[np.int64]], batch_users: int
) -> Iterator[tuple[slice, Tensor]]:
    """Scores of every item, in blocks of users that stay within memory: (which users, (b, N + 1)); column 0 is -inf.

    The prompt's keys and values and the fused item matrix are computed once for all users.
    """
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        fused, prompt = model.fused_items(), model.prompt_cache()  # (N + 1, C)
        block = max(1, _BLOCK_SCORES // len(fused))
        for start in range(0, len(histories), batch_users):
            hidden = represent(model, histories[start : start + batch_users], prompt)
            for first in range(0, len(hidden), block):
                scores = hidden[first : first + block] @ fused.T
                scores[:, 0] = float("-inf")
                yield slice(start + first, start + first + len(scores)), scores
    model.train(was_training)


def rank(
    model: Recommender,
    histories: Sequence[NDArray[np.int64]],
    targets: NDArray[np.int64],
    exclude_history: bool,
    batch_users: int,
) -> NDArray[np.int64]:
    """Rank of each user's target among all items, 1 is best, (B,)."""
    ranks = np.empty(len(targets), dtype=np.int64)
    for users, scores in score_batches(model, histories, batch_users):
        wanted = torch.from_numpy(targets[users]).to(scores.device)
        ranks[users] = rank_targets(scores, wanted, histories[users], exclude_history).cpu().numpy()
    return ranks


def recommend(
    model: Recommender,
    histories: Sequence[NDArray[np.int64]],
    k: int,
    exclude_history: bool = True,
    batch_users: int = 256,
) -> Recommendations:
    """The k best items of each user.

    Args:
        model: a recommender.
        histories: item ids 1..N, oldest first, each with at least one item.
        k: at most N less the longest history.
        exclude_history: whether the user's earlier items are no candidates.
        batch_users: users scored at a time.
    """
    items, scores = [], []
    for users, batch in score_batches(model, histories, batch_users):
        best = top_k(batch, histories[users], k, exclude_history)
        items.append(best[0].cpu().numpy())
        scores.append(best[1].cpu().numpy())
    return Recommendations(np.concatenate(items), np.concatenate(scores))
