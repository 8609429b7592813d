"""Scores and recommendations for many users: the one way that evaluation, the command line and serving share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.evaluation.ranking import rank_targets, top_k
from mmesid.recommender.model import Recommender
from mmesid.recommender.packing import first_fit, pack_rows
from mmesid.recommender.windows import history_windows

_ROW_TOKENS = 256
_BLOCK_SCORES = 2**25  # scores held at a time


class Recommendations(NamedTuple):
    """The best items of each user, best first."""

    items: NDArray[np.int64]  # (B, k)
    scores: NDArray[np.float32]  # (B, k)


class Scorer:
    """Scores users by a model as it stands; the prompt's keys and values and the fused item matrix are computed once.

    Args:
        model: it must not be trained while the scorer is in use.
    """

    def __init__(self, model: Recommender) -> None:
        self.model = model
        with evaluating(model):
            self.items = model.fused_items()  # (N + 1, C)
            self.prompt = model.prompt_cache()

    def represent(self, histories: Sequence[NDArray[np.int64]]) -> Tensor:
        """User representations, (B, C), in the order of `histories`; only the last T items of each count."""
        blueprint = self.model.blueprint
        windows = history_windows(histories, blueprint.history_length)
        response = blueprint.prompt._replace(before=[])  # what stands before the items is in the cache
        rows = first_fit(windows, response, _ROW_TOKENS)
        batch = pack_rows([[windows[user] for user in row] for row in rows], response).to(self.items.device)
        order = torch.tensor([user for row in rows for user in row])
        hidden = torch.empty(len(histories), blueprint.hidden, device=self.items.device)
        with evaluating(self.model):
            hidden[order] = self.model.represent(batch, self.prompt)
        return hidden

    def batches(self, histories: Sequence[NDArray[np.int64]], batch_users: int) -> Iterator[tuple[slice, Tensor]]:
        """Scores of every item, in blocks of users that stay within memory: (which users, (b, N + 1)).

        Column 0 is -inf.
        """
        block = max(1, _BLOCK_SCORES // len(self.items))
        for start in range(0, len(histories), batch_users):
            hidden = self.represent(histories[start : start + batch_users])
            for first in range(0, len(hidden), block):
                with torch.inference_mode():
                    scores = hidden[first : first + block] @ self.items.T
                    scores[:, 0] = float("-inf")
                yield slice(start + first, start + first + len(scores)), scores

    def rank(
        self,
        histories: Sequence[NDArray[np.int64]],
        targets: NDArray[np.int64],
        exclude_history: bool,
        batch_users: int,
    ) -> NDArray[np.int64]:
        """Rank of each user's target among all items, 1 is best, (B,)."""
        ranks = np.empty(len(targets), dtype=np.int64)
        for users, scores in self.batches(histories, batch_users):
            wanted = torch.from_numpy(targets[users]).to(scores.device)
            ranks[users] = rank_targets(scores, wanted, histories[users], exclude_history).cpu().numpy()
        return ranks

    def recommend(
        self,
        histories: Sequence[NDArray[np.int64]],
        k: int,
        exclude_history: bool = True,
        batch_users: int = 256,
    ) -> Recommendations:
        """The k best items of each user.

        Args:
            histories: item ids 1..N, oldest first, each with at least one item.
            k: at most N less the longest history.
            exclude_history: whether the user's earlier items are no candidates.
            batch_users: users scored at a time.
        """
        items, scores = [], []
        for users, batch in self.batches(histories, batch_users):
            best = top_k(batch, histories[users], k, exclude_history)
            items.append(best[0].cpu().numpy())
            scores.append(best[1].cpu().numpy())
        return Recommendations(np.concatenate(items), np.concatenate(scores))


@contextmanager
def evaluating(model: Recommender) -> Iterator[None]:
    """Without dropout and gradients; afterwards the model is in the mode that it was in."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)
