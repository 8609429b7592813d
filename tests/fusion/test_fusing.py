"""Fitted on the right users and nothing else; a law that there is, is found, and none where there is none."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.artifacts.fuse import load_fusion, save_fusion
from mmesid.artifacts.values import Embedding, SemanticIds, Sequences
from mmesid.config import Fuse, Protocol
from mmesid.errors import ConfigError
from mmesid.evaluation.metrics import ndcg
from mmesid.evaluation.ranking import checkpoint_users, judge
from mmesid.fusion.fused import Fused
from mmesid.fusion.fusing import Fitting, build_tables, fitting_users, fuse, weights_summary
from tests.fusion.conftest import N_ITEMS

Encoded = tuple[dict[str, Embedding], SemanticIds]
FOLLOWS = 7  # item i is followed by i + 7, modulo N


def by_number(histories: Sequence[NDArray[np.int64]]) -> Tensor:
    """A network that does not look at the histories."""
    return torch.arange(N_ITEMS + 1).float().expand(len(histories), -1) / N_ITEMS


def run(sequences: Sequences, encoded: Encoded, settings: Fuse, protocol: Protocol, seed: int = 0) -> Fitting:
    tables = build_tables(sequences, *encoded, settings)
    return fuse({"mme_sid": by_number, "evidence": None}, tables, sequences, settings, protocol, seed)


def written(found: Fitting, folder: Path) -> dict[str, bytes]:
    save_fusion(folder, found.fusion)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def before(
    sequences: Sequences, encoded: Encoded, settings: Fuse, protocol: Protocol, tmp_path: Path
) -> dict[str, bytes]:
    return written(run(sequences, encoded, settings, protocol), tmp_path / "before")


def change(sequences: Sequences, users: NDArray[np.int64], place: int) -> Sequences:
    """Other items at a place of some users' sequences."""
    items = [sequence.copy() for sequence in sequences.items]
    for user in users:
        items[user][place] = 1 + items[user][place] % N_ITEMS
    return sequences._replace(items=items)


CHANGES: dict[str, Callable[[Sequences], Sequences]] = {
    "test items of everybody": lambda found: change(found, np.arange(len(found.items)), -1),
    "validation targets of the gate": lambda found: change(
        found, np.flatnonzero(~checkpoint_users(found.user_ids)), -2
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_leaks(
    name: str,
    before: dict[str, bytes],
    sequences: Sequences,
    encoded: Encoded,
    settings: Fuse,
    protocol: Protocol,
    tmp_path: Path,
) -> None:
    changed = CHANGES[name](sequences)
    assert written(run(changed, encoded, settings, protocol), tmp_path / "after") == before


def test_targets_of_users_who_select_checkpoints_count(
    before: dict[str, bytes], sequences: Sequences, encoded: Encoded, settings: Fuse, protocol: Protocol, tmp_path: Path
) -> None:
    changed = change(sequences, np.flatnonzero(checkpoint_users(sequences.user_ids)), -2)
    after = written(run(changed, encoded, settings, protocol), tmp_path / "after")
    assert {name for name in before if before[name] != after[name]} == {"weights.json"}


def test_users_are_drawn_from_those_who_select_checkpoints() -> None:
    ids = [f"u{number}" for number in range(500)]
    every, some = fitting_users(ids, 1000, 0), fitting_users(ids, 50, 0)
    assert every.tolist() == np.flatnonzero(checkpoint_users(ids)).tolist()
    assert len(some) == 50
    assert set(some) < set(every)
    assert some.tolist() == fitting_users(ids, 50, 0).tolist() != fitting_users(ids, 50, 1).tolist()


def test_saved_and_loaded_is_equal(
    sequences: Sequences, encoded: Encoded, settings: Fuse, protocol: Protocol, tmp_path: Path
) -> None:
    found = run(sequences, encoded, settings, protocol).fusion
    save_fusion(tmp_path / "fuse", found)
    loaded = load_fusion(tmp_path / "fuse")
    assert loaded[1:] == found[1:]
    histories = sequences.history("test")
    assert torch.equal(Fused(None, loaded, "evidence")(histories), Fused(None, found, "evidence")(histories))


def walks(shuffled: bool, users: int = 400) -> Sequences:
    """Each user goes from an item to the one seven further; shuffled, the last two come from another user."""
    draw = np.random.default_rng(0)
    items = [1 + (start + FOLLOWS * np.arange(8)) % N_ITEMS for start in draw.integers(0, N_ITEMS, users)]
    if shuffled:
        ends = [items[user][-2:] for user in draw.permutation(users)]
        items = [np.concatenate([own[:-2], other]) for own, other in zip(items, ends, strict=True)]
    return Sequences([f"user-{user}" for user in range(users)], items, N_ITEMS)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_planted_law_is_found_and_shuffled_targets_give_chance(
    shuffled: bool, encoded: Encoded, settings: Fuse, protocol: Protocol
) -> None:
    sequences = walks(shuffled)
    free = protocol.model_copy(update={"exclude_history": False})
    found = run(sequences, encoded, settings, free)
    ranks = judge(
        Fused(None, found.fusion, "evidence"), sequences.history("test"), sequences.target("test"), False
    ).ranks
    chance = ndcg(np.arange(1, N_ITEMS + 1), 10).mean()
    if shuffled:
        assert ndcg(ranks, 10).mean() < 1.3 * chance
        assert found.losses["evidence"]["after"] > 0.9 * np.log(N_ITEMS)
    else:
        assert ndcg(ranks, 10).mean() > 0.95
        assert found.losses["mme_sid"]["after"] < 0.3 * found.losses["mme_sid"]["before"]


def test_weights_are_named_by_their_bins(
    sequences: Sequences, encoded: Encoded, settings: Fuse, protocol: Protocol
) -> None:
    found = weights_summary(run(sequences, encoded, settings, protocol).fusion)
    assert set(found["mme_sid"]) == {"network", "popularity", "transitions", "text", "text_codes"}
    assert set(found["evidence"]) == set(found["mme_sid"]) - {"network"}
    assert list(found["evidence"]["text"]) == ["from_0", "from_4", "from_8", "from_20"]


def test_evidence_that_no_item_has_is_one_sentence(
    sequences: Sequences, encoded: Encoded, settings: Fuse, protocol: Protocol
) -> None:
    pictures = settings.model_copy(update={"evidence": ["image", "image_codes"]})
    with pytest.raises(ConfigError, match=r"fuse\.evidence names image, image_codes, and no item has such content"):
        run(sequences, encoded, pictures, protocol)
