"""Each kind of evidence by a slow reference, and 0 where it knows nothing."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmesid import config
from mmesid.artifacts.values import Embedding, FusionRule, FusionTables, SemanticIds, Sequences
from mmesid.config import Fuse
from mmesid.fusion.evidence import EVIDENCE, Held, available, network
from mmesid.fusion.fusing import build_tables
from tests import tiny_world

T = 6
Encoded = tuple[dict[str, Embedding], SemanticIds]


@pytest.fixture
def tables(sequences: Sequences, encoded: Encoded, settings: Fuse) -> FusionTables:
    return build_tables(sequences, *encoded, settings)


@pytest.fixture
def held(tables: FusionTables) -> Held:
    return Held(tables, FusionRule(T))


def row_of(tables: FusionTables, item: int) -> NDArray[np.float64]:
    row = np.zeros(len(tables.frequency))
    places = slice(tables.transitions.starts[item], tables.transitions.starts[item + 1])
    row[tables.transitions.items[places]] = tables.transitions.weights[places]
    return row


def slow(kind: str, tables: FusionTables, history: NDArray[np.int64]) -> NDArray[np.float64]:
    newest_first = history[::-1][:T]
    if kind == "popularity":
        return np.log1p(tables.frequency)
    if kind == "transitions":
        found = sum(0.65**age * row_of(tables, item) for age, item in enumerate(newest_first))
        return np.log1p(found / found.sum() / 0.001) if found.sum() else found
    rows = tables.content[kind].astype(np.float64)
    weights = np.array([0.9**age * rows[item].any() for age, item in enumerate(newest_first)])
    mean = weights @ rows[newest_first] / (weights.sum() or 1)
    return 5 * rows @ mean


@pytest.mark.parametrize("kind", ["popularity", "transitions", "text", "text_codes"])
def test_it_is_what_a_slow_reference_gives(kind: str, tables: FusionTables, held: Held, sequences: Sequences) -> None:
    histories = [*sequences.history("test"), np.array([3]), np.array([3, 7]), np.array([5, 5, 3, 5, 1, 1, 2, 9])]
    found = EVIDENCE[kind](held, held.recent(histories)).numpy()
    for row, history in zip(found, histories, strict=True):
        np.testing.assert_allclose(row[1:], slow(kind, tables, history)[1:], rtol=1e-4, atol=1e-5)


def test_absent_content_is_no_evidence(held: Held, sequences: Sequences) -> None:
    for kind in ("text", "text_codes"):
        assert not EVIDENCE[kind](held, held.recent(sequences.history("test")))[:, [0, 3, 7]].any()
        assert not EVIDENCE[kind](held, held.recent([np.array([3, 7])])).any()
        with_absent, without = EVIDENCE[kind](held, held.recent([np.array([4, 3]), np.array([4])]))
        torch.testing.assert_close(with_absent, without)  # one item is its own mean, however old


def test_every_kind_can_be_asked_for_and_absent_tables_leave_it_out(tables: FusionTables) -> None:
    kinds = list(EVIDENCE)
    assert config.load("sample", tiny_world.PROJECT).fuse.evidence == kinds
    assert available(kinds, tables) == ["popularity", "transitions", "text", "text_codes"]
    assert available(["text"], tables) == ["text"]


def test_a_network_is_heard_by_its_log_softmax_over_items() -> None:
    scores = torch.tensor([[-torch.inf, 1.0, 2.0], [9.0, 0.0, 0.0]])
    found = network(scores)
    torch.testing.assert_close(found[:, 1:].exp().sum(dim=1), torch.ones(2))
    torch.testing.assert_close(found[0, 2] - found[0, 1], torch.tensor(1.0))
    assert not found[:, 0].any()
    torch.testing.assert_close(network(scores + 5), found)
