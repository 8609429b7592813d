"""Popularity: every user gets the items that were taken most often in training."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Sequences
from mmesid.config import Config
from mmesid.evaluation.ranking import Scores


def scores(store: Store, config: Config, sequences: Sequences) -> Scores:
    """The row of a dataset."""
    return popularity(sequences)


def popularity(sequences: Sequences) -> Scores:
    """Score every item by its training interactions; items never taken tie at 0."""
    frequency = torch.from_numpy(sequences.train_frequency()).float()

    def score(histories: Sequence[NDArray[np.int64]]) -> Tensor:
        return frequency.expand(len(histories), -1)

    return score
