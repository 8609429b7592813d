"""Examples are test users as they were judged: their history, what is recommended, what they took."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from mmesid.artifacts.values import Sequences
from mmesid.evaluation import examples


@pytest.fixture
def sequences_of() -> Callable[[int, int], Sequences]:
    def make(users: int, n_items: int) -> Sequences:
        draw = np.random.default_rng(0)
        items = [draw.permutation(n_items)[: draw.integers(4, 9)] + 1 for _ in range(users)]
        return Sequences([f"u{user}" for user in range(users)], items, n_items)

    return make


def later_is_better(n_items: int) -> Callable[..., torch.Tensor]:
    return lambda histories: torch.arange(n_items + 1.0).expand(len(histories), -1)


@pytest.mark.parametrize("exclude_history", [True, False])
def test_an_example_is_a_users_own(sequences_of: Callable[[int, int], Sequences], exclude_history: bool) -> None:
    sequences = sequences_of(50, 60)
    drawn = examples.draw(sequences, later_is_better(60), exclude_history, seed=3)
    assert len({example["user_id"] for example in drawn}) == examples.USERS
    for example in drawn:
        *history, target = sequences.items[int(example["user_id"][1:])].tolist()
        assert (example["history"], example["target"]) == (history, target)
        candidates = [item for item in range(60, 0, -1) if not (exclude_history and item in history)]
        assert [found["item"] for found in example["recommended"]] == candidates[: examples.ITEMS]
        assert [found["score"] for found in example["recommended"]] == candidates[: examples.ITEMS]


def test_a_small_catalog_gives_what_it_has(sequences_of: Callable[[int, int], Sequences]) -> None:
    drawn = examples.draw(sequences_of(3, 9), later_is_better(9), True, seed=0)
    assert [example["user_id"] for example in drawn] == ["u0", "u1", "u2"]
    for example in drawn:
        assert len(example["recommended"]) == 9 - len(example["history"])


def test_the_draw_follows_the_seed(sequences_of: Callable[[int, int], Sequences]) -> None:
    drawn = [examples.draw(sequences_of(50, 60), later_is_better(60), True, seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
