"""The paper run as one document: results beside what others have published, ablations, diagnoses, cost, claims."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmesid.artifacts import ablations as kept
from mmesid.artifacts.evaluate import reported_metrics
from mmesid.artifacts.files import write_atomically
from mmesid.commands import ablate
from mmesid.commands.ablate.comparison import mean
from mmesid.commands.claims import diagnoses
from mmesid.commands.claims.diagnoses import Each, each_of
from mmesid.commands.claims.judging import findings, published
from mmesid.commands.results import BUNDLED, command_for
from mmesid.config import known_datasets
from mmesid.models import MAIN_MODEL, MODELS, NETWORK_MODEL, metric_label, model_label
from mmesid.pipeline.ablations import REFERENCE, read
from mmesid.reporting import claims
from mmesid.reporting.ablations import NOTHING, estimate, seeds
from mmesid.reporting.document import Section, to_html, to_latex, to_markdown
from mmesid.reporting.tables import excludes_history, result_rows

TITLE = "MME-SID: the paper's experiment"
PLACE = Path("reports", "paper")
METRICS = tuple(f"{kind}_at_{k}" for kind in ("ndcg", "hr") for k in (5, 10, 20))
PUBLISHED_ON = ("beauty", "sports", "toys")  # columns of the table of others' figures


def write(root: Path, version: str) -> list[Path]:
    """`reports/paper/paper.{html,md,tex}`; returns them.

    Args:
        root: the project's folder.
        version: of the project.
    """
    sections = collect(root)
    texts = {
        "paper.html": to_html(sections, TITLE, version),
        "paper.md": to_markdown(sections, TITLE),
        "paper.tex": to_latex(sections, TITLE),
    }
    for name, text in texts.items():
        write_atomically(root / PLACE / name, partial(Path.write_text, data=text, encoding="utf-8"))
    return [root / PLACE / name for name in texts]


def collect(root: Path) -> list[Section]:
    """Every section, also those whose rows were not run."""
    metrics = reported_metrics(root)
    names = in_order([*metrics, *kept.datasets(root)])
    keys = {name: ablate.keys(name, root) for name in names}
    results = {name: kept.load_all(root, name) for name in names}
    judged_by = {name: each.row for name, each in read(root).items()}
    every = each_of(results, keys)
    # Minutes, codes and spectra beside a rival's row are none of the rival's.
    ours = [each for each in every if judged_by.get(each.ablation) in (MAIN_MODEL, NETWORK_MODEL)]
    unknown = [name for name in names if keys[name] is None]
    return [
        _results(names, metrics, every, unknown, root),
        _published(),
        *(
            ablate.shown(name, ablate.table(name, root), root)
            for name in names
            if results[name] or name in known_datasets(root)
        ),
        diagnoses.order(ours),
        diagnoses.spectra(ours),
        diagnoses.codes(ours),
        diagnoses.cost(ours, judged_by),
        claims.section(findings(names, root)),
    ]


def in_order(names: Sequence[str]) -> list[str]:
    """Each once, the bundled dataset first."""
    return sorted(set(names), key=lambda name: (name != BUNDLED, name))


def _results(
    names: Sequence[str], metrics: Mapping[str, Any], every: Sequence[Each], unknown: Sequence[str], root: Path
) -> Section:
    """Of all seeds that are kept of the dataset's own parameters, else of the one run behind metrics.json."""
    heads = ["dataset", "model", "seeds", *map(metric_label, METRICS), "made by"]
    own = {each.dataset: each for each in every if each.ablation == REFERENCE}
    rows: list[list[str]] = []
    offered: list[str] = []  # datasets whose histories are candidates as well
    for name in names:
        if best := own.get(name):
            rows += _over_seeds(best)
            offered += [] if best.found[0].task.excluded else [name]
        elif name in metrics:
            rows += _of_one(name, metrics[name], f"`{command_for(name, root)}`")
            offered += [name] if excludes_history(metrics[name]) is False else []
    text = (
        "Leave-one-out, full ranking over all items, the user's earlier items excluded"
        f"{f' (not so on {_names(offered)})' if offered else ''}, ties against the model. Each user's value is "
        "averaged over the seeds; 95 % intervals are over users. Ours only: what others have published stands in the "
        "next table."
    )
    if unknown:
        text += (
            f" Without a conf of {_names(unknown)} nobody can tell whether those are of today's parameters and code."
        )
    return Section("Results on test users", text, heads, rows)


def _names(datasets: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in datasets)


def _over_seeds(best: Each) -> list[list[str]]:
    told = seeds([result.seed for result in best.found], best.old, best.apart)
    return [
        [
            best.dataset,
            model_label(row),
            told,
            *(estimate(mean(best.found, row, name)) for name in METRICS),
            best.command,
        ]
        for row in MODELS
        if all(row in result.ranks for result in best.found)
    ]


def _of_one(name: str, metrics: Mapping[str, Any], command: str) -> list[list[str]]:
    rows = []
    for row in result_rows(name, metrics):
        cells = [
            NOTHING
            if cell is None
            else f"{cell.value:.4f}" + (f" [{cell.interval[0]:.4f}, {cell.interval[1]:.4f}]" if cell.interval else "")
            for cell in row.cells[: len(METRICS)]
        ]
        rows.append([name, row.label, "one", *cells, command])
    return rows


def _published() -> Section:
    told = published()
    heads = ["model (others' figures)"]
    columns = [(place, metric) for place in PUBLISHED_ON for metric in ("ndcg_at_5", "ndcg_at_10", "hr_at_10")]
    used = [(p, m) for p, m in columns if any(m in each["figures"].get(p, {}) for each in told["models"])]
    heads += [f"{place} {metric_label(metric)}" for place, metric in used]
    rows = [
        [each["model"], *(_figure(each["figures"].get(p, {}).get(m)) for p, m in used), each["source"]]
        for each in told["models"]
    ]
    text = f"None of these was run here. Protocol as published: {told['protocol']}. What is not known is left empty."
    return Section("Published by others", text, [*heads, "source"], rows)


def _figure(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.4f}"
