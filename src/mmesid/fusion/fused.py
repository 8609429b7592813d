"""A network and its evidence as one model: score(u, i) = a log-softmax_i(network) + sum_k w_k[b(i)] evidence_k(u, i).

b(i) is the bin of the item's training interactions. With late weights the frequency-aware fusion of MME-SID (arXiv
2509.02017) is fitted where the network has not memorized the answer.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.artifacts.values import Fusion
from mmesid.evaluation.ranking import Scores
from mmesid.fusion.evidence import EVIDENCE, Held, network


class Fused:
    """Late fusion under the contract of `evaluation.ranking.Scores`.

    Args:
        scores: of the network, None for evidence alone.
        fusion: tables and weights.
        model: whose weights.
        device: where the tables lie; the network's scores are brought there.

    Raises:
        KeyError: there are no weights of that model.
        ValueError: the weights are of a network and there is none, or the other way round.
    """

    def __init__(self, scores: Scores | None, fusion: Fusion, model: str, device: str = "cpu") -> None:
        self.weights = fusion.weights[model]
        if (scores is None) != (self.weights.network is None):
            raise ValueError(f"the weights of {model} were fitted {'without' if scores else 'with'} a network")
        self.network = scores
        self.held = Held(fusion.tables, fusion.rule, device)
        bins = bins_of(self.held.frequency, fusion.bins)
        rows = sorted(self.weights.evidence.items())  # a sum's last bits depend on the order
        self.by_item = {name: torch.tensor(by_bin, device=device)[bins] for name, by_bin in rows}

    @torch.inference_mode()
    def __call__(self, histories: Sequence[NDArray[np.int64]]) -> Tensor:
        """Scores of every item, (b, N + 1), in the order of `histories`; column 0 is -inf."""
        fused = torch.zeros(len(histories), self.held.n_items + 1, device=self.held.device)
        if self.network is not None:
            fused += network(self.network(histories)).to(fused.device).mul_(self.weights.network or 0.0)
        recent = self.held.recent(histories)
        for name, weights in self.by_item.items():
            fused += EVIDENCE[name](self.held, recent) * weights
        fused[:, 0] = float("-inf")
        return fused


def bins_of(frequency: Tensor, bounds: Sequence[int]) -> Tensor:
    """The bin of each item, (N + 1,) from 0.

    Args:
        frequency: (N + 1,) training interactions.
        bounds: lower bounds, ascending from 0.
    """
    return torch.bucketize(frequency, torch.tensor(bounds, device=frequency.device), right=True) - 1
