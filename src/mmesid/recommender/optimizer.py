"""AdamW with a rate of its own for tables, and the schedule of the rates."""

import math
from collections.abc import Iterator, Mapping

import torch
from torch.nn import Parameter

from mmesid.config import Finetune

_TABLES = ("items.table", "items.ids", "code_table")


def adamw(parameters: Mapping[str, Parameter], settings: Finetune) -> torch.optim.AdamW:
    """Tables with their own rate and no decay, matrices with decay, vectors without; one fused kernel for all."""
    return torch.optim.AdamW(list(_groups(parameters, settings)), fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, total: int, warmup: int) -> None:
    """Give every group its peak rate times the schedule's factor."""
    factor = learning_rate_factor(step, total, warmup)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def learning_rate_factor(step: int, total: int, warmup: int) -> float:
    """Linear warm-up, then cosine to zero, in [0, 1]."""
    warmup = min(warmup, total // 4)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def _groups(parameters: Mapping[str, Parameter], settings: Finetune) -> Iterator[dict[str, object]]:
    tables = [p for name, p in parameters.items() if name.endswith(_TABLES)]
    rest = [p for name, p in parameters.items() if not name.endswith(_TABLES)]
    matrices = [p for p in rest if p.ndim > 1]
    vectors = [p for p in rest if p.ndim <= 1]
    yield {"params": tables, "peak": settings.table_learning_rate, "lr": 0.0, "weight_decay": 0.0}
    yield {"params": matrices, "peak": settings.learning_rate, "lr": 0.0, "weight_decay": settings.weight_decay}
    yield {"params": vectors, "peak": settings.learning_rate, "lr": 0.0, "weight_decay": 0.0}
