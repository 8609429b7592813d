"""The oracle of a synthetic catalogue: the probabilities that generated it, the best that any model can reach."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.artifacts.ingest import load_oracle
from mmesid.artifacts.prepare import load_items
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Oracle, Sequences
from mmesid.config import Config
from mmesid.evaluation.ranking import Scores


def scores(store: Store, config: Config, sequences: Sequences) -> Scores | None:
    """The row of a dataset, None for a real one."""
    law = load_oracle(store)
    return None if law is None else oracle(law, load_items(store)["item_id"].to_list())


def oracle(law: Oracle, item_ids: Sequence[str]) -> Scores:
    """Score by the generating model: sum_l lags[l] <query[h_-l], key[i]> + bias[i].

    Args:
        law: tensors by the model's own item order.
        item_ids: the prepared items 1..N, in order.
    """
    position = {item: row for row, item in enumerate(law.item_ids)}
    rows = np.array([position[item] for item in item_ids])
    query, key, bias = (torch.from_numpy(part[rows]) for part in (law.query, law.key, law.bias))

    def score(histories: Sequence[NDArray[np.int64]]) -> Tensor:
        wishes = torch.zeros(len(histories), query.shape[1])
        for lag, weight in enumerate(law.lags, start=1):
            users = [user for user, history in enumerate(histories) if len(history) >= lag]
            recent = np.array([histories[user][-lag] for user in users], dtype=np.int64)
            wishes[users] += float(weight) * query[torch.from_numpy(recent) - 1]
        item_scores = wishes @ key.T + bias  # (b, N)
        return torch.cat([torch.full((len(histories), 1), float("-inf")), item_scores], dim=1)

    return score
