"""Models that need no training: popularity, and the law itself where a catalogue was drawn from one."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.artifacts.values import Oracle, Sequences, Split
from mmesid.evaluation.ranking import rank_targets

Scorer = Callable[[Sequence[NDArray[np.int64]]], Tensor]  # histories of b users -> (b, N + 1)


def popularity(sequences: Sequences) -> Scorer:
    """Score every item by its training interactions; items never taken tie at 0."""
    frequency = torch.from_numpy(sequences.train_frequency()).float()
    return lambda histories: frequency.expand(len(histories), -1)


def oracle(law: Oracle, item_ids: Sequence[str]) -> Scorer:
    """Score by the law that drew the catalogue: sum_l lags[l] <query[h_-l], key[i]> + bias[i], the best there is.

    Args:
        law: tensors by the law's own item order.
        item_ids: the prepared items 1..N, in order.
    """
    position = {item: row for row, item in enumerate(law.item_ids)}
    rows = np.array([position[item] for item in item_ids])
    query, key, bias = (torch.from_numpy(part[rows]) for part in (law.query, law.key, law.bias))

    def score(histories: Sequence[NDArray[np.int64]]) -> Tensor:
        wanted = torch.zeros(len(histories), query.shape[1])
        for lag, weight in enumerate(law.lags, start=1):
            users = [user for user, history in enumerate(histories) if len(history) >= lag]
            recent = np.array([histories[user][-lag] for user in users], dtype=np.int64)
            wanted[users] += float(weight) * query[torch.from_numpy(recent) - 1]
        scores = wanted @ key.T + bias  # (b, N)
        return torch.cat([torch.full((len(histories), 1), float("-inf")), scores], dim=1)

    return score


def rank(
    scorer: Scorer, sequences: Sequences, split: Split, exclude_history: bool, batch_users: int
) -> NDArray[np.int64]:
    """Rank of each user's target, (B,), 1 is best."""
    histories, targets = sequences.history(split), sequences.target(split)
    ranks = np.empty(len(targets), dtype=np.int64)
    for start in range(0, len(targets), batch_users):
        users = slice(start, start + batch_users)
        scores = scorer(histories[users])
        ranks[users] = rank_targets(scores, torch.from_numpy(targets[users]), histories[users], exclude_history).numpy()
    return ranks
