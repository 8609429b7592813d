"""From `benchmarks/results/*.json` to the tables and plots of `docs/performance.md`: `python -m benchmarks.render`.

What stands between `<!-- bench NAME -->` and `<!-- /bench -->` is replaced, all else stays. The same results give the
same bytes.
"""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots
from benchmarks.measure import KEYS, RESULTS, ROOT, Result
from mmesid.artifacts.files import load_json, write_atomically

PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "img"
COMPARISONS = ("packed_vs_padded", "packed_vs_authors", "evaluate", "equal_steps")
AXES = {
    "length": "history length, items",
    "targets_per_step": "targets per optimizer step",
    "row_tokens": "tokens of a row, at most",
    "items": "items in the catalogue",
    "width": "width of the backbone",
}
_BLOCK = re.compile(r"(<!-- bench (\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)

Results = Mapping[str, Result]


def main() -> None:
    """Render the page from the results at hand."""
    parser = argparse.ArgumentParser(prog="benchmarks.render", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--images", type=Path, default=IMAGES)
    given = parser.parse_args()
    render(given.results, given.page, given.images)


def render(results: Path, page: Path, images: Path) -> None:
    """Fill the marked places of a page and write the plots it shows.

    Args:
        results: folder of JSON files; those that are no result of a benchmark are passed over.
        page: the Markdown file.
        images: folder of the plots, `bench_NAME.svg`.

    Raises:
        ValueError: the page has no marked place.
    """
    found = read(results)
    text = page.read_text(encoding="utf-8")
    if not _BLOCK.search(text):
        raise ValueError(f"{page} has no `<!-- bench NAME -->` ... `<!-- /bench -->` to fill")
    drawings: dict[str, str] = {}

    def fill(match: re.Match[str]) -> str:
        name = match[2]
        body = block(name, found)
        drawing = plots.draw(name, {key: found[key] for key in needed(name, found)})
        if drawing is not None:
            drawings[name] = drawing.svg
            body += f"\n![{drawing.description}](img/bench_{name}.svg)\n"
        return f"{match[1]}{body}{match[3]}"

    filled = _BLOCK.sub(fill, text)
    for name, svg in drawings.items():
        _write(images / f"bench_{name}.svg", svg)
    _write(page, filled)


def read(results: Path) -> dict[str, Result]:
    """Every result in a folder, by name."""
    loaded = [load_json(path) for path in sorted(results.glob("*.json"))]
    return {value["name"]: value for value in loaded if isinstance(value, dict) and all(key in value for key in KEYS)}


def needed(name: str, found: Results) -> list[str]:
    """Which results a marked place shows, of those that are there."""
    return [key for key in (COMPARISONS if name == "comparisons" else (name,)) if key in found]


def block(name: str, found: Results) -> str:
    """The Markdown of one marked place, ending with a line break."""
    shown = needed(name, found)
    if not shown:
        names = COMPARISONS if name == "comparisons" else (name,)
        return f"Not measured yet: {', '.join(f'`python -m benchmarks.{each}`' for each in names)}.\n"
    return BLOCKS.get(name, comparisons)([found[key] for key in shown])


def comparisons(results: Sequence[Result]) -> str:
    """One row per comparison."""
    rows = [
        [
            f"`{result['name']}`",
            f"{result['a_is']}: {number(result['a'])} {result['unit']}" if "a_is" in result else number(result["a"]),
            f"{result['b_is']}: {number(result['b'])} {result['unit']}" if "b_is" in result else number(result["b"]),
            f"**{times(result['ratio'])}**{_spread(result)}",
            str(result["runs"]),
        ]
        for result in results
    ]
    return table(["benchmark", "a", "b", "a / b", "runs"], rows) + _machines(results)


def encoding(results: Sequence[Result]) -> str:
    """One row per modality."""
    (result,) = results
    rows = [
        [
            row["what"],
            row["dtype"],
            number(row["a"]),
            number(row["b"]),
            f"**{row['ratio']:.0%}** [{min(row['runs']):.0%}, {max(row['runs']):.0%}]",
        ]
        for row in result["rows"]
    ]
    return table(["", "precision", "encoder, per second", "bare model, per second", "share"], rows) + _machines(results)


def scaling(results: Sequence[Result]) -> str:
    """One table per axis."""
    (result,) = results
    parts = []
    for axis, points in sorted(result["tables"].items(), key=lambda pair: list(AXES).index(pair[0])):
        rows = [
            [
                f"{point['value']:,}",
                f"{number(point['targets_per_second'])} [{number(point['lowest'])}, {number(point['highest'])}]",
                f"{point['peak_mib']:,.0f}",
                f"{point['tokens_per_target']:.1f}",
            ]
            for point in points
        ]
        parts.append(table([AXES[axis], "targets/s", "peak MiB", "tokens per target"], rows))
    base = result["base"]
    note = (
        f"Where nothing else is said: {base['layers']} layers, width {base['width']}, {base['items']:,} items, "
        f"Beauty's lengths, {base['targets_per_step']} targets a step, rows of {base['row_tokens']} tokens. Median of "
        f"{result['runs']} steps, smallest and largest in brackets; the peak is one step's, above model and AdamW.\n"
    )
    return "\n".join([*parts, note]) + _machines(results)


def stages(results: Sequence[Result]) -> str:
    """One table per dataset."""
    (result,) = results
    parts = []
    for dataset, points in plots.datasets(result):
        columns = ("seconds", "import", "artifacts", "compute", "other", "cpu")
        rows = [
            [point["stage"], *(f"{point[column]:.1f}" for column in columns), f"{point['peak_mib']:,.0f}"]
            for point in points
        ]
        total = [f"**{sum(point[column] for point in points):.1f}**" for column in columns]
        rows.append(["**sum**", *total, f"**{max(point['peak_mib'] for point in points):,.0f}** (largest)"])
        parts.append(table([dataset, *(f"{c} s" if c != "seconds" else "wall s" for c in columns), "peak MiB"], rows))
    return "\n".join(parts) + _machines(results)


def loss_memory(results: Sequence[Result]) -> str:
    """One row per number of items, time and memory of each way."""
    (result,) = results
    by_items: dict[int, dict[str, Any]] = {}
    for row in result["rows"]:
        by_items.setdefault(row["items"], {})[row["way"]] = row
    ways = list(next(iter(by_items.values())))
    rows = [
        [f"{items:,}", *(f"{number(of[way]['seconds'])} s, {of[way]['peak_mib']:,.0f} MiB" for way in ways)]
        for items, of in by_items.items()
    ]
    return table(["items", *ways], rows) + _machines(results)


def serving(results: Sequence[Result]) -> str:
    """One row per way of asking."""
    (result,) = results
    names = {"closed": "each connection asks again once it is answered", "open": "requests at a fixed rate"}
    rows = [
        [
            f"{names[row['loop']]}, {row['connections']} connections",
            number(row["rate"]),
            *(number(row[f"{percentile}_ms"]) for percentile in ("p50", "p95", "p99")),
        ]
        for row in result["loops"]
    ]
    head = ["load", "requests/s", "p50 ms", "p95 ms", "p99 ms"]
    return table(head, rows) + _machines(results)


BLOCKS: dict[str, Callable[[Sequence[Result]], str]] = {
    "comparisons": comparisons,
    "encoding": encoding,
    "loss_memory": loss_memory,
    "scaling": scaling,
    "serving": serving,
    "stages": stages,
}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left and the others to the right."""
    rule = ["---", *["---:" if len(head) > 1 else "---"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *rows))


def number(value: float) -> str:
    """Three significant digits, thousands apart."""
    return f"{float(f'{value:.3g}'):,.10g}"


def times(value: float) -> str:
    """A ratio: two digits, three from a hundred on."""
    return f"{float(f'{value:.2g}' if value < 100 else f'{value:.3g}'):,.10g}×"


def _spread(result: Result) -> str:
    return f" [{times(result['ratio_low'])}, {times(result['ratio_high'])}]" if "ratio_low" in result else ""


def _machines(results: Sequence[Result]) -> str:
    """Where the numbers come from; each machine once."""
    notes: dict[str, list[str]] = {}
    for result in results:
        notes.setdefault(_machine(result["machine"]), []).append(f"`python -m benchmarks.{result['name']}`")
    return "".join(f"\n{', '.join(commands)}: {note}.\n" for note, commands in notes.items())


def _machine(found: Any) -> str:
    if not isinstance(found, Mapping):
        return str(found)
    versions = ", ".join(f"{name} {found[name]}" for name in ("python", "torch", "transformers") if name in found)
    return f"{found.get('cpu')}, {found.get('cores')} cores, {found.get('threads')} threads, {versions}"


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    main()
