"""Reconstruction and alignment losses of MM-RQ-VAE, each found by its short name.

A new loss is one function and one line in its dict.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Reconstruction = Callable[[Tensor, Tensor], Tensor]
Alignment = Callable[[Tensor, Tensor, float], Tensor]

BANDWIDTHS = 5  # Gaussian kernels of the MMD, each twice as wide as the one before, the mean distance in their middle


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """Squared Euclidean distances in Gram form, |x|^2 + |y|^2 - 2xy: (A, d) and (B, d) to (A, B), never below 0."""
    norms = left.square().sum(1, keepdim=True) + right.square().sum(1)  # (A, B)
    return torch.addmm(norms, left, right.T, alpha=-2).clamp_min(0)


def mmd(left: Tensor, right: Tensor) -> Tensor:
    """Squared maximum mean discrepancy between two sets, the biased V-statistic: 0 for equal sets.

    MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y), with k a sum of Gaussians whose bandwidths are the detached
    mean squared distance of the joint set times 1/4 ... 4 (Gretton et al., JMLR 2012; Long et al., ICML 2015). It
    compares sets: it never pairs an item with its own reconstruction. Memory is O(B^2), whatever the width. The
    authors' released code uses one bandwidth.

    Args:
        left, right: (A, d) and (B, d).
    """
    within_left = squared_distances(left, left)
    within_right = squared_distances(right, right)
    between = squared_distances(left, right)
    mean = (within_left.mean() + within_right.mean() + 2 * between.mean()).detach() / 4
    width = mean.clamp_min(torch.finfo(mean.dtype).tiny) * 2 ** (BANDWIDTHS // 2)
    return _kernel(within_left, width) + _kernel(within_right, width) - 2 * _kernel(between, width)


def _kernel(distances: Tensor, width: Tensor) -> Tensor:
    """Mean over pairs of sum_j exp(-distance 2^j / width): each narrower Gaussian is the square of the one before."""
    gaussian = torch.exp(distances / -width)
    total = gaussian.mean()
    for _ in range(BANDWIDTHS - 1):
        gaussian = gaussian.square()
        total = total + gaussian.mean()
    return total


def mse(left: Tensor, right: Tensor) -> Tensor:
    """Mean squared error per dimension, item by item."""
    return functional.mse_loss(left, right)


def mmd_and_mse(left: Tensor, right: Tensor) -> Tensor:
    """MMD keeps the shape of the set, the squared error keeps each item in its place."""
    return mmd(left, right) + mse(left, right)


def infonce(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """Symmetric InfoNCE with in-batch negatives: row i of both sides is the same item (van den Oord et al., 2018).

    Args:
        left, right: (B, d), compared by cosine.
        temperature: divides the cosines.
    """
    cosines = functional.normalize(left, dim=1) @ functional.normalize(right, dim=1).T  # (B, B)
    logits = cosines / temperature
    own = torch.arange(len(left), device=left.device)
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


def mmd_alignment(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """MMD between two modalities' quantized latents, as in the authors' released code; it has no temperature."""
    return mmd(left, right)


def no_alignment(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """Modalities are trained side by side, unaligned."""
    return left.new_zeros(())


RECONSTRUCTION: dict[str, Reconstruction] = {"mmd": mmd, "mse": mse, "mmd+mse": mmd_and_mse}
ALIGNMENT: dict[str, Alignment] = {"infonce": infonce, "mmd": mmd_alignment, "none": no_alignment}
