"""Users a second of recommending twenty items: all at once against one user at a time, the same lists demanded.

`python -m benchmarks.evaluate [--quick] [--output FILE]`. One at a time is the authors' way: a forward pass per user
and the whole catalogue projected for each. Both exclude the user's earlier items and rank all others.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import measure, steps, worlds
from mmesid.evaluation.ranking import best, top_k, users_at_a_time
from mmesid.recommender import adapter
from mmesid.recommender.inference import Scorer
from mmesid.recommender.model import Recommender

NAME = "evaluate"
K = 20
RUNS, USERS, SINGLE_USERS = 5, 4096, 48  # repetitions; users in each, all at once and one at a time

Histories = Sequence[NDArray[np.int64]]


def main(quick: bool) -> measure.Result:
    """Build the world and compare."""
    if quick:
        return compare(worlds.QUICK, runs=2, users=40, single_users=6)
    return compare(worlds.Size(), RUNS, USERS, SINGLE_USERS)


def compare(size: worlds.Size, runs: int, users: int, single_users: int) -> measure.Result:
    """Users a second, after the lists of the users that both sides see were found equal.

    Args:
        size: of the world.
        runs: repetitions.
        users: of a repetition, all at once.
        single_users: of a repetition, one at a time; the first of the same users.

    Raises:
        RuntimeError: a list differs.
    """
    world = worlds.build(size)
    model = world.model.eval()
    product = merged(model)
    histories = world.sequences.history("test")[:users]
    single = histories[:single_users]
    demand_equal(all_at_once(product, histories)[: len(single)], one_at_a_time(model, single))

    def at_once(turn: int) -> float:
        return float(len(all_at_once(product, histories)))

    def alone(turn: int) -> float:
        return float(len(one_at_a_time(model, single)))

    return measure.comparison(
        NAME,
        "users/s",
        measure.interleave([at_once, alone], runs),
        a_is="batches of users, prompt and catalogue computed once",
        b_is="one user at a time, the catalogue projected for each",
        users={"a": len(histories), "b": len(single)},
        same_lists=len(single),
        k=K,
        score_modalities=list(model.blueprint.score_modalities),
        size=size._asdict(),
    )


def merged(model: Recommender) -> Recommender:
    """As a stage loads it to score: the adapter folded into the weights."""
    twin = copy.deepcopy(model)
    twin.backbone = adapter.merge(twin.backbone)
    return twin


def all_at_once(model: Recommender, histories: Histories) -> NDArray[np.int64]:
    """The k best items of each user, (B, k); fusing the catalogue and computing the prompt are part of it."""
    users = users_at_a_time(model.blueprint.n_items)
    return best(Scorer(model), histories, K, exclude_history=True, batch_users=users).items


@torch.inference_mode()
def one_at_a_time(model: Recommender, histories: Histories) -> NDArray[np.int64]:
    """The k best items of each user by a forward pass and a projected catalogue of its own, (B, k)."""
    lists = []
    for history in histories:
        hidden = steps.represent(model, [history[-model.blueprint.history_length :]])  # (1, C)
        scores = model.items.users(hidden) @ model.fused_items().T  # (1, N + 1)
        lists.append(top_k(scores, [history], K, exclude_history=True)[0].numpy())
    return np.concatenate(lists)


def demand_equal(together: NDArray[np.int64], alone: NDArray[np.int64]) -> None:
    """Raises RuntimeError where a user's list differs in an item or in the order."""
    differing = np.flatnonzero((together != alone).any(axis=1))
    if len(differing):
        raise RuntimeError(
            f"{len(differing)} of {len(alone)} lists differ, the first of user {differing[0]}: "
            f"{together[differing[0]].tolist()} at once, {alone[differing[0]].tolist()} alone"
        )


if __name__ == "__main__":
    measure.command_line(NAME, main, __doc__)
