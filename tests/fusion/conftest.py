"""A small random world: 30 items of which some lack text, 80 users."""

import numpy as np
import pytest

from mmesid import config
from mmesid.artifacts.values import Embedding, SemanticIds, Sequences
from mmesid.config import Fuse, Protocol
from tests import tiny_world

N_ITEMS, USERS = 30, 80


@pytest.fixture
def sequences() -> Sequences:
    draw = np.random.default_rng(0)
    likes = 1 / np.arange(1, N_ITEMS + 1)
    items = [
        1 + draw.choice(N_ITEMS, draw.integers(3, 14), replace=False, p=likes / likes.sum()).astype(np.int64)
        for _ in range(USERS)
    ]
    return Sequences([f"user-{user}" for user in range(USERS)], items, N_ITEMS)


@pytest.fixture
def encoded() -> tuple[dict[str, Embedding], SemanticIds]:
    """Text of all but items 3 and 7."""
    draw = np.random.default_rng(1)
    present = np.arange(N_ITEMS + 1) > 0
    present[[3, 7]] = False
    matrix = draw.standard_normal((N_ITEMS + 1, 12)).astype(np.float32) * present[:, None]
    codes = draw.integers(0, 5, (N_ITEMS + 1, 3)) * present[:, None]
    books = draw.standard_normal((3, 5, 4)).astype(np.float32)
    ids = SemanticIds({"text": codes}, {"text": books}, {"text": present})
    return {"text": Embedding(matrix, present)}, ids


@pytest.fixture(scope="session")
def settings() -> Fuse:
    return config.load("sample", tiny_world.PROJECT).fuse


@pytest.fixture(scope="session")
def protocol() -> Protocol:
    return Protocol(exclude_history=True, history_length=6)
