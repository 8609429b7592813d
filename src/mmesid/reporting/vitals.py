"""How fine-tuning began and how it went: loss against chance, sizes inside the backbone, who moves."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mmesid.artifacts.values import Curves
from mmesid.models import backbone_label
from mmesid.reporting.tables import ADAPTERS, part

SIZES = {
    "word_rms": "Size of words at the first layer",
    "input_rms": "Size of items beside them",
    "hidden_rms": "Size of the hidden state that is scored",
}
SHARES = {
    "update_adapter": "Share of the update in the backbone",
    "update_adaptors": "Share of the update in the adaptors of content",
    "update_tables": "Share of the update in tables of codes and items",
}


class Row(NamedTuple):
    """A quantity at the start and at the end, as printed."""

    label: str
    start: str
    end: str


def rows(curves: Curves) -> list[Row]:
    """Of fine-tuning's curves; empty where an earlier release wrote them."""
    if not curves or "first_loss" not in curves[0]:
        return []
    losses = [entry["loss"] for entry in curves if "loss" in entry]
    start, end = curves[0], _last(losses, "{:.2f}")
    found = [Row(f"Loss (chance: {start['chance']:.2f})", f"{start['first_loss']:.2f}", end)]
    if "full_size_loss" in start:  # scores warm up: the first row's start is that of step one
        found.append(Row("Loss, scores at full size from the start", f"{start['full_size_loss']:.2f}", end))
    for labels, text in ((SIZES, "{:.3g}"), (SHARES, "{:.1%}")):
        for name, label in labels.items():
            values = [entry[name] for entry in curves if name in entry]
            if values:
                found.append(Row(label, text.format(values[0]), _last(values, text)))
    return found


def backbone(metrics: Mapping[str, Any]) -> str:
    """`smollm2, 6 layers, bfloat16, LoRA`; nothing where the metrics do not say."""
    found = part(metrics, "backbone")
    if "name" not in found:
        return ""
    adapter = metrics.get("adapter")
    label = backbone_label(found["name"], found.get("layers"), found.get("weights"))
    return ", ".join(filter(None, [label, found.get("dtype"), ADAPTERS.get(adapter, adapter) if adapter else None]))


def _last(values: list[float], text: str) -> str:
    return text.format(values[-1]) if values else "–"
