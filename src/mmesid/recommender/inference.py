"""Scores of every item for many users: the one way that evaluation, the command line and serving share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.artifacts.windows import history_windows
from mmesid.recommender.model import Recommender
from mmesid.recommender.packing import first_fit, pack_rows

_ROW_TOKENS = 256


class Scorer:
    """A recommender as it stands, under the contract of `evaluation.ranking.Scores`.

    The prompt's keys and values and the fused item matrix are computed once.

    Args:
        model: it must not be trained while the scorer is in use.
    """

    def __init__(self, model: Recommender) -> None:
        self.model = model
        with evaluating(model):
            self.items = model.fused_items()  # (N + 1, C)
            self.prompt = model.prompt_cache()

    def represent(self, histories: Sequence[NDArray[np.int64]]) -> Tensor:
        """User representations as scored, (B, C), in the order of `histories`; only the last T items of each count."""
        blueprint = self.model.blueprint
        windows = history_windows(histories, blueprint.history_length)
        response = blueprint.prompt._replace(before=[])  # what stands before the items is in the cache
        rows = first_fit(windows, response, _ROW_TOKENS)
        batch = pack_rows([[windows[user] for user in row] for row in rows], response).to(self.items.device)
        order = torch.tensor([user for row in rows for user in row])
        hidden = torch.empty(len(histories), blueprint.hidden, device=self.items.device)
        with evaluating(self.model):
            hidden[order] = self.model.items.users(self.model.represent(batch, self.prompt))
        return hidden

    @torch.inference_mode()
    def __call__(self, histories: Sequence[NDArray[np.int64]]) -> Tensor:
        """Scores of every item, (b, N + 1), in the order of `histories`; column 0 is -inf."""
        scores = self.represent(histories) @ self.items.T
        scores[:, 0] = float("-inf")
        return scores


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
