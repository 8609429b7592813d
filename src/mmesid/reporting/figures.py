"""Figures of the report as inline SVG; each function returns None where there is nothing to draw."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mmesid.artifacts.values import Curves, SemanticIds
from mmesid.models import MAIN_BASELINE, MAIN_METRIC, MAIN_MODEL, RANK_METRICS, metric_label, model_label
from mmesid.reporting.svg import COLORS, annotate, drawing, log_scale, panels, to_svg, unit
from mmesid.reporting.tables import ORDER_KEPT, ResultRow, by_modality

POINTS = 200  # a longer curve is averaged down to this many points
_FLOOR = 1e-4  # of the drawn spectrum, relative to the largest singular value
LOSS = "Loss"
_LOSS_TERMS = ("reconstruction", "quantization", "alignment")
_CYCLE = [COLORS[name] for name in ("blue", "orange", "teal", "violet", "pink", "gray")]
_MODELS = {MAIN_MODEL: COLORS["blue"], MAIN_BASELINE: COLORS["orange"]}  # others are gray
_MODALITY = {"collaborative": COLORS["violet"], "text": COLORS["teal"], "image": COLORS["pink"]}
_EVIDENCE = {**_MODALITY, "transitions": COLORS["violet"], "popularity": COLORS["gray"]}
_ORDER_KEPT = {  # color and opacity
    "tau_random_init": (COLORS["gray"], 0.6),
    "tau_init": (COLORS["blue"], 0.45),
    "tau_finetuned": (COLORS["blue"], 1.0),
}


def overview(name: str, rows_by_dataset: Mapping[str, Sequence[ResultRow]]) -> str | None:
    """Test nDCG@10 of every model with its interval, a panel per dataset; the oracle is a line."""
    drawn = {dataset: rows for dataset, rows in rows_by_dataset.items() if rows}
    if not drawn:
        return None
    height = max(1.9, 0.4 + 0.36 * max(len(rows) for rows in drawn.values()))
    with drawing(f"overview-{name}"):
        figure, axes = panels(len(drawn), 10.2, height)
        for axis, (dataset, rows) in zip(axes, drawn.items(), strict=True):
            _draw_models(axis, rows)
            axis.set_title(dataset)
        return to_svg(figure, f"Test nDCG@10 with 95 % intervals on {', '.join(drawn)}")


def _draw_models(axis: Axes, rows: Sequence[ResultRow]) -> None:
    models = [row for row in rows if not row.is_bound]
    for place, row in enumerate(models):
        cell = row.cells[RANK_METRICS.index(MAIN_METRIC)]
        if cell is None:
            continue
        color = _MODELS.get(row.model, COLORS["gray"])
        if cell.interval:
            axis.plot(cell.interval, (place, place), color=color, linewidth=5, alpha=0.35, solid_capstyle="round")
        axis.plot(cell.value, place, "o", color=color, markersize=6)
        annotate(axis, f"{cell.value:.4f}", (cell.value, place), (0, 7), "center")
    for row in rows:
        cell = row.cells[RANK_METRICS.index(MAIN_METRIC)]
        if row.is_bound and cell is not None:
            axis.axvline(cell.value, color=COLORS["muted"], linewidth=1, linestyle=(0, (4, 3)))
            annotate(axis, f"{row.label.lower()} {cell.value:.4f}", (cell.value, 0), (-4, -9), "right")
    axis.set_yticks(range(len(models)), [row.label.replace(" (", "\n(") for row in models])
    axis.set_ylim(len(models) - 0.5, -0.7)
    axis.tick_params(axis="y", labelcolor=COLORS["ink"])
    axis.grid(visible=False, axis="y")
    axis.grid(visible=True, axis="x")
    axis.set_xlim(left=0)
    axis.margins(x=0.08)
    axis.xaxis.set_major_locator(MaxNLocator(4))


def training(stage: str, curves: Curves) -> str | None:
    """A stage's losses and its validation nDCG over the steps, the best validation marked."""
    names = list(dict.fromkeys(name for entry in curves for name in entry if name != "step"))
    groups = {
        LOSS: [name for name in names if "loss" in name or name in _LOSS_TERMS],
        f"Validation {metric_label(MAIN_METRIC)}": [name for name in names if name.endswith(MAIN_METRIC)],
    }
    drawn = {title: series for title, names in groups.items() if (series := _series(curves, names, title == LOSS))}
    if not drawn:
        return None
    with drawing(f"training-{stage}"):
        figure, axes = panels(len(drawn), 3.2 if len(drawn) == 1 else 4.9, 2.1)
        for axis, (title, series) in zip(axes, drawn.items(), strict=True):
            _draw_curves(axis, series, best=title != LOSS)
            axis.set(title=title, xlabel="step")
        if any(len(series) > 1 for series in drawn.values()):
            figure.legend(loc="outside lower center", ncols=4, fontsize=7, handlelength=1, columnspacing=1)
        return to_svg(figure, f"{', '.join(drawn)} over the steps of {stage}")


def _series(curves: Curves, names: Sequence[str], smooth: bool) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Steps and values by name; smooth ones are averaged down to POINTS, of the others every point is drawn."""
    series = {}
    for name in names:
        points = np.array([(entry["step"], entry[name]) for entry in curves if name in entry and "step" in entry])
        points = points[np.isfinite(points).all(1)] if len(points) else points
        if len(points):
            chunks = np.array_split(points, min(len(points), POINTS) if smooth else len(points))
            means = np.array([chunk.mean(0) for chunk in chunks])
            series[name] = (means[:, 0], means[:, 1])
    return series


def _draw_curves(axis: Axes, curves: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], best: bool) -> None:
    for color, (name, (steps, values)) in zip(_CYCLE * len(curves), curves.items(), strict=False):
        axis.plot(steps, values, color=color, label=name.replace("_", " "), marker="o" if len(steps) == 1 else None)
        if best:
            _mark_best(axis, steps, values, color)
    every = np.concatenate([values for _, values in curves.values()])
    if every.min() > 0 and every.max() > 50 * every.min():
        log_scale(axis, "{:g}")
    else:
        axis.yaxis.set_major_locator(MaxNLocator(4))
    axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axis.margins(y=0.12)


def _mark_best(axis: Axes, steps: NDArray[Any], values: NDArray[Any], color: str) -> None:
    best = int(values.argmax())
    axis.plot(steps[best], values[best], "o", color=color, markersize=5)
    axis.set_ylim(bottom=0)
    right = steps[best] > steps.mean()
    offset, side = ((-7, -10), "right") if right else ((7, -10), "left")
    annotate(axis, f"{values[best]:.4f}", (steps[best], values[best]), offset, side)


def spectrum(name: str, spectra: Mapping[str, Sequence[float]]) -> str | None:
    """Singular values over their largest, on a logarithmic axis; what falls below 1 % counts as collapsed."""
    drawn = {label: values for label, raw in spectra.items() if (values := _normalized(raw)).size}
    if not drawn:
        return None
    with drawing(f"spectrum-{name}"):
        figure, (axis,) = panels(1, 4.9, 2.6)
        for color, (label, values) in zip(_CYCLE * len(drawn), drawn.items(), strict=False):
            axis.plot(np.arange(1, len(values) + 1), np.maximum(values, _FLOOR), color=color, label=label)
        axis.axhline(0.01, color=COLORS["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
        log_scale(axis, "{:.3%}")
        axis.set_ylim(_FLOOR, 1.4)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axis.set_xlabel("dimension, by size")
        unit(axis, "singular value / largest")
        axis.legend(loc="lower left", fontsize=7.5, handlelength=1.2)
        return to_svg(figure, f"Singular spectrum: {', '.join(drawn)}")


def _normalized(values: Sequence[float]) -> NDArray[np.float64]:
    array = np.sort(np.asarray(values, dtype=np.float64))[::-1]
    return array / array[0] if array.size and array[0] > 0 else array[:0]


def code_counts(ids: SemanticIds) -> dict[str, NDArray[np.int64]]:
    """Items that carry each code, by modality, each (Q, K); absent items carry none."""
    counts = {}
    for modality, codes in ids.codes.items():
        size = ids.codebooks[modality].shape[1]
        columns = codes[ids.present[modality]].T  # (Q, items)
        counts[modality] = np.stack([np.bincount(column, minlength=size) for column in columns]).astype(np.int64)
    return counts


def code_use(name: str, counts: Mapping[str, NDArray[np.int64]]) -> str | None:
    """Items per code, codes sorted by use, a line per level; flat is balanced, a cliff means unused codes.

    Args:
        counts: items that carry each code, by modality, each (Q, K).
    """
    counts = {modality: table for modality, table in counts.items() if table.any()}
    if not counts:
        return None
    with drawing(f"codes-{name}"):
        figure, axes = panels(len(counts), 10.2 * max(len(counts), 2) / 3, 2.4, share_y=True)
        for axis, (modality, table) in zip(axes, counts.items(), strict=True):
            levels, codes = table.shape
            for level, row in enumerate(np.sort(table, axis=1)[:, ::-1]):
                used = int((row > 0).sum())
                shade = 1 - 0.7 * level / max(levels - 1, 1)
                label = f"level {level + 1}: {used} of {codes}"
                color = _MODALITY.get(modality, COLORS["blue"])
                axis.plot(np.arange(1, used + 1), row[:used], color=color, alpha=shade, label=label)
            axis.axhline(table.sum(1).max() / codes, color=COLORS["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
            axis.set(title=modality, xlabel="code, by use", xlim=(0, codes + 1))
            log_scale(axis, "{:g}")
            axis.legend(fontsize=7, handlelength=1.2)
        axes[0].set_ylabel("items")
        return to_svg(figure, f"Items per code by level for {', '.join(counts)}")


def forgetting(name: str, section: Mapping[str, Any]) -> str | None:
    """Kendall's tau between original and semantic-ID similarities, by modality; 0 is chance."""
    rows = by_modality(section, ORDER_KEPT)
    if not rows:
        return None
    with drawing(f"forgetting-{name}"):
        figure, (axis,) = panels(1, 4.9, 2.6)
        for column, (key, label) in enumerate(ORDER_KEPT.items()):
            found = [(place, value) for place, (_, values) in enumerate(rows) if (value := values[column]) is not None]
            color, opacity = _ORDER_KEPT[key]
            _bars(axis, found, (column, len(ORDER_KEPT)), "{:.2f}", color=color, alpha=opacity, label=label)
        axis.axhline(0, color=COLORS["muted"], linewidth=1)
        axis.set_xticks(range(len(rows)), [modality for modality, _ in rows])
        axis.spines["bottom"].set_visible(False)
        axis.tick_params(axis="x", length=0)
        axis.margins(y=0.15)
        axis.yaxis.set_major_locator(MaxNLocator(4))
        unit(axis, "Kendall's tau; 0 is chance")
        figure.legend(loc="outside lower center", ncols=3, fontsize=7.5, handlelength=1, columnspacing=1.2)
        return to_svg(figure, "Order kept by the codes, by modality")


def slices(name: str, title: str, rows: Sequence[Mapping[str, Any]]) -> str | None:
    """nDCG@10 of MME-SID and SASRec by bucket, with the number of users in each."""
    if not rows:
        return None
    with drawing(f"slices-{name}"):
        figure, (axis,) = panels(1, 4.9, 2.6)
        for column, (model, color) in enumerate(_MODELS.items()):
            values = [(place, row[model]) for place, row in enumerate(rows) if row.get(model) is not None]
            _bars(axis, values, (column, len(_MODELS)), "{:.3f}", color=color, label=model_label(model))
        axis.set_xticks(range(len(rows)), [f"{row['bucket']}\n{row['users']:,} users" for row in rows])
        axis.tick_params(axis="x", length=0)
        axis.margins(y=0.15)
        axis.yaxis.set_major_locator(MaxNLocator(4))
        unit(axis, "nDCG@10")
        axis.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, fontsize=7.5, handlelength=1)
        return to_svg(figure, f"nDCG@10 by {title.lower()}")


def fusion_weights(name: str, bins: Sequence[str], by_model: Mapping[str, Mapping[str, Sequence[float]]]) -> str | None:
    """Weight of each kind of evidence by the training interactions of an item, a panel per model."""
    drawn = {model: kinds for model, kinds in by_model.items() if kinds}
    if not drawn or not bins:
        return None
    with drawing(f"fusion-{name}"):
        figure, axes = panels(len(drawn), 3.4 * max(len(drawn), 2), 2.6, share_y=True)
        for axis, (model, kinds) in zip(axes, drawn.items(), strict=True):
            for kind, weights in kinds.items():
                modality, dash = kind.removesuffix("_codes"), "--" if kind.endswith("_codes") else "-"
                color = _EVIDENCE.get(modality, COLORS["gray"])
                label = kind.replace("_codes", " by semantic ID") if axis is axes[0] else None
                axis.plot(range(len(bins)), weights, dash, color=color, marker="o", markersize=3, label=label)
            axis.axhline(0, color=COLORS["muted"], linewidth=0.9)
            axis.set_xticks(range(len(bins)), bins)
            axis.set(title=model_label(model), xlabel="training interactions of the item")
        axes[0].set_ylabel("weight")
        figure.legend(loc="outside lower center", ncols=6, fontsize=7.5, handlelength=1.6, columnspacing=1.2)
        return to_svg(figure, "Weight of each kind of evidence by training interactions")


def _bars(axis: Axes, found: Sequence[tuple[int, float]], column: tuple[int, int], text: str, **style: Any) -> None:
    """One series of grouped bars; `column` is its place among how many, `text` the format of the values above them."""
    width = 0.78 / column[1]
    places = [place + (column[0] - (column[1] - 1) / 2) * width for place, _ in found]
    bars = axis.bar(places, [value for _, value in found], width * 0.92, **style)
    axis.bar_label(bars, [text.format(value) for _, value in found], padding=2, fontsize=6.5, color=COLORS["muted"])
