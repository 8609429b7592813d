"""Balanced assignment of residuals to codes by optimal transport."""

import torch
from torch import Tensor

_LOWEST = -690.0  # exp of it is still a normal float64


@torch.no_grad()
def balanced_codes(distances: Tensor, epsilon: float, iterations: int) -> Tensor:
    """The code of each row in the entropic transport plan that gives every code the same mass.

    Sinkhorn-Knopp (Cuturi, NeurIPS 2013) in float64 on distances scaled to [-1, 1] and shifted by each row's minimum,
    which the plan does not notice. A cost more than 690 epsilon above its row's minimum is capped there: no such pair
    is ever assigned.

    Args:
        distances: (B, K).
        epsilon: weight of the entropy; the smaller, the closer to a hard assignment.
        iterations: of one scaling of rows and one of columns.

    Returns:
        Codes, (B,) int64.
    """
    rows, codes = distances.shape
    cost = distances.double()
    half_range = ((cost.max() - cost.min()) / 2).clamp_min(1e-12)
    shifted = (cost.min(1, keepdim=True).values - cost) / (half_range * epsilon)
    plan = torch.exp(shifted.clamp_min(_LOWEST))  # (B, K), before scaling
    column_scale = torch.ones(codes, dtype=plan.dtype, device=plan.device)
    for _ in range(iterations):
        row_scale = 1 / (rows * (plan @ column_scale))
        column_scale = 1 / (codes * (row_scale @ plan))
    return (shifted + column_scale.log()).argmax(1)
