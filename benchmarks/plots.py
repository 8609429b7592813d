"""The plots of the benchmarks, as SVG files that follow the reader's light or dark theme."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks.measure import Result
from benchmarks.stages import ALL
from mmesid.reporting.svg import COLORS, drawing, panels, to_svg, unit

# The report's own colors; there they stand in its style sheet.
_THEMES = {
    "light": "--ink: #1a1f26; --muted: #5f6874; --line: #e1e4e8; --blue: #1f66b0; --orange: #c45f12; --gray: #7b8490; "
    "--violet: #6f4bb2; --teal: #0b8074; --pink: #b3396f;",
    "dark": "--ink: #e8eaed; --muted: #9aa4b0; --line: #2f363f; --blue: #6aabf2; --orange: #f09a55; --gray: #9098a3; "
    "--violet: #b094ea; --teal: #45c2b1; --pink: #ec80ae;",
}
_STYLE = (
    f"<style>svg {{ {_THEMES['light']} font-family: 'DejaVu Sans', Verdana, sans-serif; }} "
    f"@media (prefers-color-scheme: dark) {{ svg {{ {_THEMES['dark']} }} }}</style>"
)
_PARTS = {"import": "orange", "artifacts": "teal", "compute": "blue", "other": "gray"}
_SHORT = {
    "length": "history length",
    "targets_per_step": "targets per step",
    "row_tokens": "row tokens",
    "items": "items",
    "width": "width",
}

Results = Mapping[str, Result]


class Drawing(NamedTuple):
    """A plot and what it shows, in words."""

    svg: str
    description: str


def draw(name: str, results: Results) -> Drawing | None:
    """The plot of one marked place; None where there is no result, or no plot by that name.

    Args:
        name: of the place.
        results: those that it shows, by name.
    """
    if name not in PLOTS or not results:
        return None
    make, description = PLOTS[name]
    with drawing(f"bench_{name}"):
        svg = to_svg(make(results), description)
    opening, rest = svg.split(">", 1)
    return Drawing(
        opening.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"') + f">{_STYLE}{rest}\n", description
    )


def comparisons(results: Results) -> Figure:
    """A bar for each ratio, with the range over repetitions."""
    figure, (axis,) = panels(1, 6.4, 0.6 + 0.5 * len(results))
    shown = list(reversed(list(results.values())))
    lows, highs = ([_bound(result, key) for result in shown] for key in ("ratio_low", "ratio_high"))
    for place, (result, low, high) in enumerate(zip(shown, lows, highs, strict=True)):
        ratio = float(result["ratio"])
        axis.barh(place, ratio, height=0.5, color=COLORS["blue"])
        axis.plot([low, high], [place, place], color=COLORS["ink"], linewidth=1, marker="|", markersize=5)
        axis.annotate(f"{ratio:.3g}×", (max(ratio, high), place), (6, -3), textcoords="offset points", fontsize=7)
    axis.set_yticks(range(len(shown)), [result["name"].replace("_", " ") for result in shown])
    axis.grid(False)
    axis.grid(True, axis="x")
    axis.set_xlim(0, 1.15 * max(highs))
    axis.set_xlabel("times as fast")
    return figure


def scaling(results: Results) -> Figure:
    """Targets a second over each axis above, peak memory below."""
    (result,) = results.values()
    axes_of = {axis: result["tables"][axis] for axis in _SHORT if axis in result["tables"]}
    figure = Figure(figsize=(2.1 * len(axes_of), 3.6), layout="constrained")
    grid = figure.subplots(2, len(axes_of), squeeze=False, sharey="row", sharex="col")
    for column, (axis, points) in enumerate(axes_of.items()):
        values = [point["value"] for point in points]
        for row, (key, color) in enumerate((("targets_per_second", "blue"), ("peak_mib", "orange"))):
            panel = grid[row][column]
            panel.plot(values, [point[key] for point in points], color=COLORS[color], marker="o", markersize=3)
            panel.set_xscale("log")
        grid[1][column].set_xticks(values, [_plain(value) for value in values], rotation=45)
        grid[1][column].minorticks_off()
        grid[1][column].set_xlabel(_SHORT[axis])
    for shared in grid:  # a row has one scale, which is known once all its points are in
        shared[0].set_ylim(bottom=0)
    unit(grid[0][0], "targets/s")
    unit(grid[1][0], "peak MiB of a step")
    return figure


def stages(results: Results) -> Figure:
    """One stacked bar per stage, a panel per dataset."""
    (result,) = results.values()
    tables = datasets(result)
    longest = max(len(points) for _, points in tables)
    figure, axes = panels(len(tables), max(6.4, 4.4 * len(tables)), 1.0 + 0.28 * longest)
    for axis, (dataset, points) in zip(axes, tables, strict=True):
        for place, point in enumerate(points):
            left = 0.0
            for part, color in _PARTS.items():
                axis.barh(place, point[part], left=left, height=0.6, color=COLORS[color])
                left += point[part]
        axis.set_yticks(range(len(points)), [point["stage"] for point in points])
        axis.set_ylim(longest - 0.5, -0.5)  # equal bars in all panels, the first stage on top
        axis.grid(False)
        axis.grid(True, axis="x")
        axis.set_xlabel("seconds")
        unit(axis, dataset)
    handles = [Patch(color=COLORS[color], label=part) for part, color in _PARTS.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), fontsize=7)
    return figure


def datasets(result: Result) -> list[tuple[str, list[dict[str, Any]]]]:
    """The tables of `stages` in order of name, that of all datasets last."""
    return sorted(result["tables"].items(), key=lambda pair: (pair[0] == ALL, pair[0]))


def _bound(result: Result, key: str) -> float:
    found: Any = result.get(key, result["ratio"])
    return float(found)


def _plain(value: float) -> str:
    return f"{value / 1000:.3g}k" if value >= 10_000 else f"{value:,g}"


PLOTS: dict[str, tuple[Callable[[Results], Figure], str]] = {
    "comparisons": (comparisons, "How many times as fast each way is as the one it is compared with"),
    "scaling": (scaling, "Targets a second and peak memory over history length, step, row, catalogue and width"),
    "stages": (stages, "Seconds of every stage, split into import, artifacts, compute and other"),
}
