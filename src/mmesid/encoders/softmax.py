"""Exact full-softmax cross-entropy over the catalogue without the (n, N) logits of all targets at once."""

from typing import Any

import torch
from torch import Tensor

CHUNK_LOGITS = 2**21  # logits of one chunk on the CPU: 8 MB in float32, which stays near its cache
GPU_CHUNK_LOGITS = 2**26  # 256 MB: few, large products


class _FullSoftmax(torch.autograd.Function):
    """Computes both gradients while a chunk's probabilities are at hand, so that none are kept for the way back."""

    @staticmethod
    def forward(ctx: Any, users: Tensor, classes: Tensor, targets: Tensor) -> Tensor:
        logits_at_once = CHUNK_LOGITS if users.device.type == "cpu" else GPU_CHUNK_LOGITS
        size = max(1, logits_at_once // len(classes))
        chunk = users.new_empty(min(size, len(users)), len(classes))  # reused: fresh memory costs as much as the sums
        users_grad, classes_grad = torch.empty_like(users), torch.zeros_like(classes)
        loss = users.new_zeros(())
        for start in range(0, len(users), size):
            part, wanted = users[start : start + size], targets[start : start + size, None]
            logits = torch.mm(part, classes.T, out=chunk[: len(part)])  # (chunk, N)
            highest = logits.amax(dim=1, keepdim=True)
            loss -= (logits.gather(1, wanted) - highest).sum()
            odds = logits.sub_(highest).exp_()
            mass = odds.sum(dim=1, keepdim=True)
            loss += mass.log().sum()
            error = odds.div_(mass).scatter_add_(1, wanted, -torch.ones_like(mass))  # p - onehot
            torch.mm(error, classes, out=users_grad[start : start + size])
            classes_grad.addmm_(error.T, part)
        ctx.save_for_backward(users_grad, classes_grad)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, None]:
        users_grad, classes_grad = ctx.saved_tensors
        return users_grad * grads[0], classes_grad * grads[0], None


def cross_entropy(users: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of each target among all items.

    L = mean_t ( log sum_{i=1..N} exp<h_t, e_i> - <h_t, e_target> ); row 0 is no class and gets no gradient.

    Args:
        users: (n, D).
        table: (N + 1, D).
        targets: (n,), ids 1..N.
    """
    loss: Tensor = _FullSoftmax.apply(users, table[1:], targets - 1)
    return loss / len(users)
