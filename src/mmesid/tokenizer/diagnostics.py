"""What a trained tokenizer is judged by, besides the recommender built on it."""

from typing import Any

import torch
from torch import Tensor

from mmesid.tokenizer.model import Autoencoder


@torch.no_grad()
def diagnose(autoencoder: Autoencoder, embeddings: Tensor, codes: Tensor, batch_size: int) -> dict[str, Any]:
    """Measure one modality over all its present items.

    Args:
        autoencoder: trained, in evaluation mode.
        embeddings: (n, D), present items only.
        codes: (n, Q), their semantic IDs.
        batch_size: items that share a Sinkhorn assignment, as in training.

    Returns:
        collision_rate: share of items whose whole semantic ID another item has as well.
        moved: share of items whose last code is not the nearest, so that no other item has their semantic ID.
        identical: share of items whose embedding another item has as well; their collisions cannot be avoided.
        code_use: share of codes that some item has, mean over levels; code_use_by_level the same for each.
        perplexity: exp of the entropy of the codes, mean over levels; perplexity_by_level the same for each.
        residual_by_level: share of the latent's variance that is left after each level.
        reconstruction: share of the embedding's variance that the decoder does not give back.
        sinkhorn_disagreement: share of items whose balanced code at the last level is not the nearest.
    """
    coded = autoencoder(embeddings)
    nearest, codebooks = coded.quantized.indices, autoencoder.quantizer.codebooks
    counts = torch.stack([torch.bincount(level, minlength=codebooks.shape[1]) for level in codes.T])  # (Q, K)
    use = (counts > 0).double().mean(1)
    perplexity = _perplexity(counts)
    residuals = autoencoder.quantizer.residuals(coded.latent)  # (Q + 1, n, d)
    rebuilt = autoencoder.decoder(autoencoder.quantizer.decode(codes))  # (n, D)
    spread = (coded.latent - coded.latent.mean(0)).square().mean().clamp_min(1e-12)
    return {
        "collision_rate": shared(codes),
        "moved": (codes != nearest).any(1).double().mean().item(),
        "identical": shared(embeddings),
        "code_use": use.mean().item(),
        "code_use_by_level": use.tolist(),
        "perplexity": perplexity.mean().item(),
        "perplexity_by_level": perplexity.tolist(),
        "residual_by_level": (residuals[1:].square().mean((1, 2)) / spread).tolist(),
        "reconstruction": (rebuilt - coded.original).square().mean().item(),
        "sinkhorn_disagreement": _disagreement(autoencoder, coded.latent, nearest[:, -1], batch_size),
    }


def shared(rows: Tensor) -> float:
    """Share of rows, (n, w), that equal another row."""
    _, counts = torch.unique(rows, dim=0, return_counts=True)
    return int(counts[counts > 1].sum()) / len(rows)


def _perplexity(counts: Tensor) -> Tensor:
    """exp(entropy) of each row of counts, (Q, K) to (Q,): K where all codes are used alike, 1 where one code is."""
    shares = counts.double() / counts.sum(1, keepdim=True)
    return torch.exp(-torch.special.xlogy(shares, shares).sum(1))


def _disagreement(autoencoder: Autoencoder, latent: Tensor, nearest: Tensor, batch_size: int) -> float:
    """Assign in training mode, batch by batch, and compare the last level's codes."""
    quantizer, idle = autoencoder.quantizer, autoencoder.quantizer.idle.clone()
    quantizer.train()
    parts = torch.tensor_split(latent, -(-len(latent) // batch_size))
    balanced = torch.cat([quantizer(part).indices[:, -1] for part in parts])
    quantizer.eval()
    quantizer.idle.copy_(idle)
    return (balanced != nearest).double().mean().item()
