"""A fused model is the weighted sum of its parts."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.artifacts.values import Embedding, Fusion, FusionRule, FusionWeights, SemanticIds, Sequences
from mmesid.config import Fuse
from mmesid.fusion.evidence import EVIDENCE, Held
from mmesid.fusion.fused import Fused, bins_of
from mmesid.fusion.fusing import build_tables
from tests.fusion.conftest import N_ITEMS

BOUNDS = [0, 4, 8]


@dataclass
class Network:
    """Random scores, whoever asks."""

    scores: Tensor

    def __call__(self, histories: list[NDArray[np.int64]]) -> Tensor:
        return self.scores[: len(histories)]


@pytest.fixture
def network() -> Network:
    return Network(torch.randn(100, N_ITEMS + 1, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def fusion(sequences: Sequences, encoded: tuple[dict[str, Embedding], SemanticIds], settings: Fuse) -> Fusion:
    evidence = {"popularity": [0.1, 0.2, 0.3], "transitions": [1.0, 0.5, 0.2], "text": [2.0, 1.0, 0.0]}
    weights = {"both": FusionWeights(0.6, evidence), "alone": FusionWeights(None, evidence)}
    return Fusion(build_tables(sequences, *encoded, settings), FusionRule(6), BOUNDS, weights)


def test_the_score_by_hand(network: Network, fusion: Fusion, sequences: Sequences) -> None:
    histories = sequences.history("test")
    held = Held(fusion.tables, fusion.rule)
    found = Fused(network, fusion, "both")(histories)
    alone = Fused(None, fusion, "alone")(histories)
    user, item = 5, 11
    place = sum(int(held.frequency[item]) >= low for low in BOUNDS) - 1
    expected = sum(
        weights[place] * float(EVIDENCE[kind](held, held.recent(histories))[user, item])
        for kind, weights in fusion.weights["both"].evidence.items()
    )
    assert float(alone[user, item]) == pytest.approx(expected, rel=1e-5)
    neural = float(network(histories)[user, 1:].log_softmax(0)[item - 1])
    assert float(found[user, item]) == pytest.approx(expected + 0.6 * neural, rel=1e-5)
    assert (found[:, 0] == -torch.inf).all()
    assert found[:, 1:].isfinite().all()


def test_a_network_alone_ranks_as_it_does_by_itself(network: Network, fusion: Fusion, sequences: Sequences) -> None:
    alone = fusion._replace(weights={"x": FusionWeights(1.0, {})})
    histories = sequences.history("test")
    found, own = Fused(network, alone, "x")(histories)[:, 1:], network(histories)[:, 1:]
    torch.testing.assert_close(found.argsort(1), own.argsort(1))


def test_weights_and_network_belong_together(network: Network, fusion: Fusion) -> None:
    with pytest.raises(ValueError, match="fitted with a network"):
        Fused(None, fusion, "both")
    with pytest.raises(ValueError, match="fitted without a network"):
        Fused(network, fusion, "alone")
    with pytest.raises(KeyError):
        Fused(network, fusion, "another")


def test_bins_by_hand() -> None:
    assert bins_of(torch.tensor([0, 3, 4, 7, 8, 100]), BOUNDS).tolist() == [0, 0, 1, 1, 2, 2]
