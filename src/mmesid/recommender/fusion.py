"""Frequency-aware fusion: how much each modality counts in an item's score, by how often the item was taken."""

import torch
from torch import Tensor, nn


class FrequencyFusion(nn.Module):
    """w_i = softmax(MLP(f_i) / tau), f_i = min-max(log(1 + training frequency of i)); absent modalities get no weight.

    Entry 0 is the learned item table, entry m the m-th content modality. MME-SID (arXiv 2509.02017); MLP sizes are
    those of the authors' code, 1-64-10 and 10-64-(M + 1).

    Args:
        frequency: training interactions of each item, (N + 1,).
        present: which item has which modality, (N + 1, M).
        temperature: tau; small values make the weights nearly one-hot.
    """

    frequency: Tensor
    mask: Tensor

    def __init__(self, frequency: Tensor, present: Tensor, temperature: float) -> None:
        super().__init__()
        self.register_buffer("frequency", _scaled_log(frequency))  # (N + 1, 1)
        always = torch.ones(len(present), 1, dtype=torch.bool)
        self.register_buffer("mask", torch.cat([always, present], dim=1))  # (N + 1, M + 1)
        self.temperature = temperature
        self.embed = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 10))
        self.weigh = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, present.shape[1] + 1))

    def forward(self) -> Tensor:
        """Weights of every item, (N + 1, M + 1), rows sum to one."""
        logits: Tensor = self.weigh(self.embed(self.frequency)) / self.temperature  # (N + 1, M + 1)
        return logits.masked_fill(~self.mask, float("-inf")).softmax(dim=-1)


def _scaled_log(frequency: Tensor) -> Tensor:
    """Min-max scaled log frequency over items 1..N, 0 for all if constant."""
    logarithm = torch.log1p(frequency.float())
    low, high = logarithm[1:].min(), logarithm[1:].max()
    scaled = (logarithm - low) / (high - low) if high > low else torch.zeros_like(logarithm)
    scaled[0] = 0
    return scaled.unsqueeze(1)
