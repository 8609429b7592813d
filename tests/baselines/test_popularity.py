"""Popularity counts training interactions alone and knows no user."""

import numpy as np

from mmesid.artifacts.values import Sequences
from mmesid.baselines.popularity import popularity


def test_scores_are_training_interactions_by_hand() -> None:
    # The last two of each user are validation and test: 1, 2, 1 and 2, 2, 3 are left; item 4 is never taken.
    sequences = Sequences(["u", "v"], [np.array([1, 2, 1, 4, 3]), np.array([2, 2, 3, 4, 4])], 4)
    found = popularity(sequences)([np.array([1]), np.array([4, 4])])
    assert found[:, 1:].tolist() == [[2, 3, 1, 0], [2, 3, 1, 0]]
