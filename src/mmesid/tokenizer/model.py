"""The networks of MM-RQ-VAE: one residual-quantized autoencoder per modality and the loss that ties them."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from mmesid.config import Tokenize
from mmesid.tokenizer.losses import ALIGNMENT, RECONSTRUCTION
from mmesid.tokenizer.quantizer import Quantized, ResidualQuantizer


class Mapper(nn.Module):
    """A linear map plus an MLP that starts at zero: the map is all there is until training bends it.

    The authors use a plain MLP with Xavier weights; from a linear start the latent keeps the distances of the input.
    """

    def __init__(self, width_in: int, hidden: list[int], width_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width_in, width_out)
        layers: list[nn.Module] = []
        for width, wider in pairwise([width_in, *hidden]):
            layers += [nn.Linear(width, wider), nn.ReLU()]
        self.bend = None
        if hidden:
            last = nn.Linear(hidden[-1], width_out)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.bend = nn.Sequential(*layers, last)

    @torch.no_grad()
    def start(self, weight: Tensor, bias: Tensor) -> None:
        """Place `weight`, (rows, columns), and `bias`, (rows,), in the corner of the linear map; the rest is zero."""
        rows, columns = weight.shape
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.linear.weight[:rows, :columns] = weight
        self.linear.bias[:rows] = bias

    def forward(self, values: Tensor) -> Tensor:
        """(B, width_in) to (B, width_out)."""
        straight: Tensor = self.linear(values)
        return straight if self.bend is None else straight + self.bend(values)


class Coded(NamedTuple):
    """One modality's items on their way through the autoencoder."""

    original: Tensor  # (B, D), standardized
    reconstruction: Tensor  # (B, D)
    latent: Tensor  # (B, d)
    quantized: Quantized


class Autoencoder(nn.Module):
    """One modality: z = Enc(e), z^ = quantized z, e^ = Dec(z^).

    Embeddings are centred and divided by one scale, so that their mean variance per dimension is 1: the mean squared
    error of any modality is then the share of variance lost. Mean and scale are in the state dict.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int, settings: Tokenize) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))
        self.encoder = Mapper(width, settings.hidden, settings.dimension)
        self.quantizer = ResidualQuantizer(settings)
        self.decoder = Mapper(settings.dimension, settings.hidden[::-1], width)

    def forward(self, embeddings: Tensor) -> Coded:
        """(B, D), present items only."""
        original = self.standardize(embeddings)
        latent = self.encoder(original)
        quantized = self.quantizer(latent)
        return Coded(original, self.decoder(quantized.quantized), latent, quantized)

    def standardize(self, embeddings: Tensor) -> Tensor:
        """(B, D) to (B, D) of mean 0 and variance 1 over all items and dimensions."""
        return (embeddings - self.mean) / self.scale

    @torch.no_grad()
    def initialize(self, embeddings: Tensor, seed: int) -> None:
        """Fit the standardization, the linear maps and the codebooks to all present items, (n, D), n at least 2.

        The encoder starts as the projection on the principal axes about the origin (so that cosines are kept), the
        decoder as its transpose.
        """
        if self.quantizer.initialized:
            return
        self.mean.copy_(embeddings.mean(0))
        self.scale.copy_((embeddings - self.mean).square().mean().sqrt().clamp_min(1e-12))
        gain, axes = self._principal_axes(embeddings)  # (), (D, r)
        offset = axes.T @ (self.mean / self.scale)  # (r,)
        self.encoder.start(gain * axes.T, gain * offset)
        self.decoder.start(axes / gain, -(axes @ offset))
        self.quantizer.initialize(self.encoder(self.standardize(embeddings)), seed)

    def _principal_axes(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Axes about the origin, (D, min(D, d)), and the gain that gives their projections variance 1 per dimension."""
        scaled = embeddings / self.scale
        vectors = torch.linalg.eigh((scaled.T @ scaled).double()).eigenvectors  # (D, D), ascending
        axes = vectors.flip(1)[:, : self.encoder.linear.out_features].to(scaled)
        variance = (self.standardize(embeddings) @ axes).square().sum(1).mean() / self.encoder.linear.out_features
        return variance.clamp_min(1e-12).rsqrt(), axes


class Losses(NamedTuple):
    """The loss and its parts, unweighted; each is a scalar tensor."""

    total: Tensor
    reconstruction: Tensor
    quantization: Tensor
    alignment: Tensor


class MMRQVAE(nn.Module):
    """Multimodal residual-quantized autoencoder (Wang et al., CIKM 2025).

    L = w_rec sum_m Rec(e^_m, e_m) + sum_m quantization_m + w_align sum_{m != coll} A(z^_coll, z^_m)

    An item that lacks a modality drops out of that modality's terms.
    """

    def __init__(self, widths: Mapping[str, int], settings: Tokenize) -> None:
        super().__init__()
        self.settings = settings
        self.autoencoders = nn.ModuleDict({name: Autoencoder(width, settings) for name, width in widths.items()})

    def by_modality(self) -> dict[str, Autoencoder]:
        """The autoencoders with their type."""
        return {name: cast(Autoencoder, module) for name, module in self.autoencoders.items()}

    def forward(
        self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor]
    ) -> tuple[Losses, dict[str, Coded]]:
        """Code a batch of items.

        Args:
            embeddings: (B, D) by modality; rows of absent items are ignored.
            present: (B,) bool by modality.

        Returns:
            The losses, and what became of each modality's present items.
        """
        coded = {
            name: autoencoder(embeddings[name][present[name]])
            for name, autoencoder in self.by_modality().items()
            if present[name].any()
        }
        return self._losses(coded, present), coded

    def _losses(self, coded: Mapping[str, Coded], present: Mapping[str, Tensor]) -> Losses:
        rebuild = RECONSTRUCTION[self.settings.reconstruction]
        zero = next(iter(coded.values())).latent.new_zeros(())
        reconstruction = sum((rebuild(c.reconstruction, c.original) for c in coded.values()), start=zero)
        quantization = sum((c.quantized.loss for c in coded.values()), start=zero)
        alignment = self._alignment(coded, present, zero)
        total = (
            self.settings.reconstruction_weight * reconstruction
            + quantization
            + self.settings.alignment_weight * alignment
        )
        return Losses(total, reconstruction, quantization, alignment)

    def _alignment(self, coded: Mapping[str, Coded], present: Mapping[str, Tensor], zero: Tensor) -> Tensor:
        align, total = ALIGNMENT[self.settings.alignment], zero
        anchor = "collaborative"
        for name in coded:
            if anchor not in coded or name == anchor:
                continue
            both = present[anchor] & present[name]  # (B,)
            if both.any():
                left = coded[anchor].quantized.quantized[both[present[anchor]]]
                right = coded[name].quantized.quantized[both[present[name]]]
                total = total + align(left, right, self.settings.temperature)
        return total
