"""Full-softmax cross-entropy over the catalogue without the (n, N) logits of all targets at once."""

from typing import Any

import torch
from torch import Tensor

from mmesid.config import sizes

CHUNK_LOGITS = 2**21  # logits of one chunk on the CPU: 8 MB in float32, which stays near its cache
GPU_CHUNK_LOGITS = 2**26  # 256 MB: few, large products


def multiplies_bfloat16(device: str) -> bool:
    """Whether a device has instructions for products in bfloat16; where it only imitates them they are slow."""
    if device != "cpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def product_dtype(users: Tensor, n_classes: int, may_round: bool) -> torch.dtype:
    """What a chunk's three products are computed in: bfloat16 where a CPU multiplies it natively, in half the time.

    Sums, exponentials and what is added up over chunks stay in the precision of `users`. Over few scores it gains
    nothing, and results do not depend on the CPU. Where autocast is on, its precision holds, and where it is off and
    nothing may be rounded, that of `users`.
    """
    device = users.device.type
    if device in ("cpu", "cuda") and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    many = may_round and users.dtype == torch.float32 and len(users) * n_classes >= sizes.MANY_SCORES
    return torch.bfloat16 if many and device == "cpu" and multiplies_bfloat16(device) else users.dtype


class _FullSoftmax(torch.autograd.Function):
    """Computes both gradients while a chunk's probabilities are at hand, so that none are kept for the way back."""

    @staticmethod
    def forward(ctx: Any, users: Tensor, classes: Tensor, targets: Tensor, may_round: bool) -> Tensor:
        size = max(1, (CHUNK_LOGITS if users.device.type == "cpu" else GPU_CHUNK_LOGITS) // len(classes))
        dtype = product_dtype(users, len(classes), may_round)
        factors, table = users.to(dtype), classes.to(dtype)
        # Both chunks are reused: fresh memory costs as much as the sums.
        product_chunk = factors.new_empty(min(size, len(users)), len(classes))
        chunk = product_chunk if dtype == users.dtype else torch.empty_like(product_chunk, dtype=users.dtype)
        users_grad, classes_grad = torch.empty_like(users), torch.zeros_like(classes)
        loss = users.new_zeros(())
        for start in range(0, len(users), size):
            part, wanted = factors[start : start + size], targets[start : start + size, None]
            product = torch.mm(part, table.T, out=product_chunk[: len(part)])  # (chunk, N)
            logits = chunk[: len(part)].copy_(product)
            highest = logits.amax(dim=1, keepdim=True)
            loss -= (logits.gather(1, wanted) - highest).sum()
            odds = logits.sub_(highest).exp_()
            mass = odds.sum(dim=1, keepdim=True)
            loss += mass.log().sum()
            error = product.copy_(odds.div_(mass).scatter_add_(1, wanted, -torch.ones_like(mass)))  # p - onehot
            users_grad[start : start + size] = error @ table
            classes_grad += error.T @ part
        ctx.save_for_backward(users_grad, classes_grad)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, None, None]:
        users_grad, classes_grad = ctx.saved_tensors
        return users_grad * grads[0], classes_grad * grads[0], None, None


def cross_entropy(users: Tensor, table: Tensor, targets: Tensor, may_round: bool = True) -> Tensor:
    """The sum of each target's cross-entropy among all items.

    L = sum_t ( log sum_{i=1..N} exp<h_t, e_i> - <h_t, e_target> ); row 0 is no class and gets no gradient.

    Args:
        users: (n, D).
        table: (N + 1, D).
        targets: (n,), ids 1..N.
        may_round: whether products may be in bfloat16 where autocast is off, see `product_dtype`.
    """
    loss: Tensor = _FullSoftmax.apply(users, table[1:], targets - 1, may_round)
    return loss
