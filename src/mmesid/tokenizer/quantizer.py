"""Residual quantization with straight-through gradients."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmesid.config import Tokenize
from mmesid.tokenizer.kmeans import kmeans_centres
from mmesid.tokenizer.losses import squared_distances
from mmesid.tokenizer.sinkhorn import balanced_codes


class Quantized(NamedTuple):
    """What a quantizer returns."""

    quantized: Tensor  # (B, d): the sum of the codes' embeddings, with the latent's gradient
    indices: Tensor  # (B, Q) int64
    loss: Tensor  # ()


class ResidualQuantizer(nn.Module):
    """Q codebooks, each of which quantizes what the ones before have left over.

    r_0 = z; c_q = argmin_k |r_q - v_qk|^2; r_{q+1} = r_q - v_{q,c_q}; z^ = sum_q v_{q,c_q}
    loss = mean_q (|sg[r_q] - v|^2 + beta |r_q - sg[v]|^2)   (Lee et al., CVPR 2022), squared norms per dimension.

    In training mode the last level assigns by Sinkhorn instead, so that its codes share the items evenly. Every code
    counts the training steps since its last use; `revive` moves the idle ones. Codebooks, counters and whether the
    codebooks were initialized are all in the state dict.
    """

    idle: Tensor
    initialized: Tensor

    def __init__(self, settings: Tokenize) -> None:
        super().__init__()
        levels, codes, dimension = settings.levels, settings.codes, settings.dimension
        self.settings = settings
        self.codebooks = nn.Parameter(torch.randn(levels, codes, dimension) * dimension**-0.5)  # (Q, K, d)
        self.register_buffer("idle", torch.zeros(levels, codes, dtype=torch.int64))  # (Q, K)
        self.register_buffer("initialized", torch.tensor(False))

    def forward(self, latent: Tensor) -> Quantized:
        """Quantize (B, d)."""
        indices: list[Tensor] = []
        quantized = torch.zeros_like(latent)
        residual, loss = latent, latent.new_zeros(())
        for level, codebook in enumerate(self.codebooks):
            code = self._assign(residual.detach(), level)  # (B,)
            embedding = functional.embedding(code, codebook)  # (B, d)
            loss = loss + functional.mse_loss(embedding, residual.detach())
            loss = loss + self.settings.commitment * functional.mse_loss(residual, embedding.detach())
            residual = residual - embedding.detach()
            quantized = quantized + embedding
            indices.append(code)
        codes = torch.stack(indices, dim=1)  # (B, Q)
        if self.training:
            self._count(codes)
        return Quantized(latent + (quantized - latent).detach(), codes, loss / len(self.codebooks))

    def decode(self, indices: Tensor) -> Tensor:
        """The embedding that a semantic ID stands for: (B, Q) to (B, d)."""
        return sum(
            (functional.embedding(indices[:, level], codebook) for level, codebook in enumerate(self.codebooks)),
            start=self.codebooks.new_zeros(()),
        )

    @torch.no_grad()
    def residuals(self, latent: Tensor) -> Tensor:
        """What each level is left with when every code is the nearest: (B, d) to (Q + 1, B, d), the latent first."""
        left = [latent]
        for codebook in self.codebooks:
            nearest = squared_distances(left[-1], codebook).argmin(1)
            left.append(left[-1] - codebook[nearest])
        return torch.stack(left)

    @torch.no_grad()
    def initialize(self, latent: Tensor, seed: int) -> None:
        """Start each codebook as k-means centres of its level's residuals, once: a loaded codebook stays as it is.

        With `kmeans_init` off the codebooks stay random, and revival alone brings them to where the items are.

        Args:
            latent: (n, d) of all items.
            seed: of k-means.
        """
        if self.initialized:
            return
        residual = latent
        levels = self.settings.levels if self.settings.kmeans_init else 0
        for level in range(levels):
            codebook = kmeans_centres(residual, self.settings.codes, seed + level)
            self.codebooks[level] = codebook
            residual = residual - codebook[squared_distances(residual, codebook).argmin(1)]
        self.initialized.fill_(True)

    @torch.no_grad()
    def revive(self, latent: Tensor, generator: torch.Generator) -> int:
        """Place every code that was idle for `revive_after` steps on a random residual of its level.

        Args:
            latent: (B, d) of the current batch.
            generator: draws the residuals, on the CPU.

        Returns:
            How many codes were moved.
        """
        idle = self.idle >= self.settings.revive_after  # (Q, K)
        if not idle.any():
            return 0
        for level, residual in enumerate(self.residuals(latent)[:-1]):
            chosen = torch.randint(len(residual), (int(idle[level].sum()),), generator=generator)
            self.codebooks[level, idle[level]] = residual[chosen.to(residual.device)]
        self.idle[idle] = 0
        return int(idle.sum())

    def _assign(self, residual: Tensor, level: int) -> Tensor:
        distances = squared_distances(residual, self.codebooks[level].detach())  # (B, K)
        last = level == len(self.codebooks) - 1
        if self.training and last and self.settings.sinkhorn_epsilon > 0:
            return balanced_codes(distances, self.settings.sinkhorn_epsilon, self.settings.sinkhorn_iterations)
        return distances.argmin(1)

    @torch.no_grad()
    def _count(self, codes: Tensor) -> None:
        self.idle += 1
        for level, used in enumerate(codes.T):
            self.idle[level, used] = 0
