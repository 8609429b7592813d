"""AdamW with a rate of its own for tables, and the schedule of the rates."""

import math
from collections.abc import Iterator, Mapping

import torch
from torch.nn import Parameter

from mmesid.config import Finetune

_TABLES = ("items.table", "items.ids", "code_table")
_BACKBONE = "backbone."
OWN_RATE, PRETRAINED_RATE = 0.003, 0.0005  # of the backbone's adapter: what is known already is not to be overwritten


def part_of(name: str) -> str:
    """Where a parameter stands: in `tables` of items and codes, the backbone's `adapter`, or `adaptors` around it."""
    if name.endswith(_TABLES):
        return "tables"
    return "adapter" if name.startswith(_BACKBONE) else "adaptors"


def adamw(parameters: Mapping[str, Parameter], settings: Finetune, pretrained: bool) -> torch.optim.AdamW:
    """Tables with their own rate and no decay, matrices with decay, vectors without; one fused kernel for all.

    Args:
        parameters: by name; those below `backbone.` have the adapter's rate.
        settings: the `finetune` section.
        pretrained: whether the backbone has learned elsewhere.
    """
    return torch.optim.AdamW(list(_groups(parameters, settings, pretrained)), fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, total: int, warmup: int) -> None:
    """Give every group its peak rate times the schedule's factor."""
    factor = learning_rate_factor(step, total, warmup)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def learning_rate_factor(step: int, total: int, warmup: int) -> float:
    """Linear warm-up, then cosine to zero, in [0, 1]."""
    if step < (warmup := min(warmup, total // 4)):
        return warmup_factor(step, total, warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def warmup_factor(step: int, total: int, warmup: int) -> float:
    """From 1 / `warmup` in a line to 1, in at most a quarter of all steps."""
    return min(1.0, (step + 1) / max(1, min(warmup, total // 4)))


def _groups(parameters: Mapping[str, Parameter], settings: Finetune, pretrained: bool) -> Iterator[dict[str, object]]:
    inside = settings.adapter_learning_rate or (PRETRAINED_RATE if pretrained else OWN_RATE)
    parts: dict[str, list[Parameter]] = {"tables": [], "adapter": [], "adaptors": []}
    for name, parameter in parameters.items():
        parts[part_of(name)].append(parameter)
    yield {"params": parts["tables"], "peak": settings.table_learning_rate, "lr": 0.0, "weight_decay": 0.0}
    for rest, rate in ((parts["adapter"], inside), (parts["adaptors"], settings.learning_rate)):
        matrices, vectors = [p for p in rest if p.ndim > 1], [p for p in rest if p.ndim <= 1]
        yield {"params": matrices, "peak": rate, "lr": 0.0, "weight_decay": settings.weight_decay}
        yield {"params": vectors, "peak": rate, "lr": 0.0, "weight_decay": 0.0}
