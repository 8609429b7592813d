"""A few users to look at: what they took, what is recommended to them, what they took next."""

from typing import Any

import numpy as np

from mmesid.artifacts.values import Sequences
from mmesid.evaluation.ranking import Scores, best

USERS, ITEMS = 20, 20  # drawn, and recommended to each, at most


def draw(sequences: Sequences, scores: Scores, exclude_history: bool, seed: int) -> list[dict[str, Any]]:
    """Histories, targets and recommendations of some test users, as item ids 1..N.

    Args:
        sequences: users and items.
        scores: of the model.
        exclude_history: whether earlier items leave the candidates.
        seed: of the draw.
    """
    count = min(USERS, len(sequences.items))
    users = sorted(np.random.default_rng(seed).choice(len(sequences.items), count, replace=False).tolist())
    every_history, targets = sequences.history("test"), sequences.target("test")
    histories = [every_history[user] for user in users]
    lists = best(scores, histories, min(ITEMS, sequences.n_items), exclude_history)
    examples = []
    for place, user in enumerate(users):
        pairs = zip(lists.items[place], lists.scores[place], strict=True)
        recommended = [{"item": int(item), "score": float(score)} for item, score in pairs if item > 0]
        examples.append(
            {
                "user_id": sequences.user_ids[user],
                "history": histories[place].tolist(),
                "target": int(targets[user]),
                "recommended": recommended,
            }
        )
    return examples
