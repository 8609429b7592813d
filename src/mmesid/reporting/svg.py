"""One restrained look for all figures, and their way into the page as inline SVG that follows its theme."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

# Colors are drawn as stand-ins and leave as CSS variables, whose values the page's theme decides.
COLORS = {
    "ink": "#0d0101",
    "muted": "#0d0102",
    "line": "#0d0103",
    "blue": "#0d0104",
    "orange": "#0d0105",
    "gray": "#0d0106",
    "violet": "#0d0107",
    "teal": "#0d0108",
    "pink": "#0d0109",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that the layout is the same everywhere
    "font.size": 8,
    "text.color": COLORS["ink"],
    "axes.labelcolor": COLORS["muted"],
    "axes.edgecolor": COLORS["line"],
    "axes.titlecolor": COLORS["ink"],
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "grid.color": COLORS["line"],
    "grid.linewidth": 0.6,
    "xtick.color": COLORS["line"],
    "xtick.labelcolor": COLORS["muted"],
    "ytick.color": COLORS["line"],
    "ytick.labelcolor": COLORS["muted"],
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.size": 3,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.labelcolor": COLORS["ink"],
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """Draw inside this block in the common style; `name` keeps the identifiers of two figures on a page apart."""
    with rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # text stays text: the reader's browser has the glyphs
        yield


def panels(count: int, width: float, height: float, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels side by side; width and height in inches of 96 px."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False, sharey=share_y)
    return figure, list(axes[0])


def annotate(axis: Axes, text: str, point: tuple[float, float], offset: tuple[int, int], side: str) -> None:
    """A small number `offset` points beside `point`; `side` is the text's side that stands there."""
    axis.annotate(text, point, offset, textcoords="offset points", ha=side, fontsize=7)


def unit(axis: Axes, text: str) -> None:
    """What the vertical axis counts, above it."""
    axis.set_title(text, fontweight="normal", color=COLORS["muted"], fontsize=8)


def log_scale(axis: Axes, text: str) -> None:
    """A logarithmic axis whose ticks are plain numbers, without needless zeros."""
    axis.set_yscale("log")
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(lambda value, _: re.sub(r"\.?0+%$", " %", text.format(value)))


def to_svg(figure: Figure, description: str) -> str:
    """The figure as an `<svg>` element for a page; the same drawing gives the same bytes.

    Args:
        description: what the figure shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=metadata)
    text = buffer.getvalue()
    view = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"/>', "", body)
    body = re.sub(r'<g id="[^"]*">', "<g>", body)
    body = body.replace("xlink:href", "href").replace("'DejaVu Sans'", "inherit")
    for variable, color in COLORS.items():
        body = body.replace(color, f"var(--{variable})")
    width, height = (float(view[1]), float(view[2])) if view else (1.0, 1.0)
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width * 4 / 3:.0f}"'
    return f'<svg {size} role="img" aria-label="{_quoted(description)}">{_one_line(body)}'


def _quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _one_line(body: str) -> str:
    return re.sub(r"\s*\n\s*", " ", body).replace("> <", "><").strip()
