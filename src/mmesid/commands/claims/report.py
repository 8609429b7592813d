"""The paper run as one document: results beside what others have published, ablations, diagnoses, cost, claims."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmesid.artifacts import ablations as kept
from mmesid.artifacts.ablations import AblationResult
from mmesid.artifacts.claims import load as load_claims
from mmesid.artifacts.evaluate import reported_metrics
from mmesid.artifacts.files import write_atomically
from mmesid.commands import ablate
from mmesid.commands.ablate.comparison import (
    AFTER,
    BEFORE,
    command_of,
    counted,
    difference,
    mean,
    order_kept,
    outdated,
)
from mmesid.commands.claims.judging import published
from mmesid.commands.results import BUNDLED, command_for
from mmesid.config import known_datasets
from mmesid.models import MAIN_BASELINE, MAIN_METRIC, MAIN_MODEL, MODELS, NETWORK_MODEL, metric_label, model_label
from mmesid.pipeline.ablations import REFERENCE, read
from mmesid.reporting import claims
from mmesid.reporting.ablations import NOTHING, estimate, seeds
from mmesid.reporting.document import Section, to_html, to_latex, to_markdown
from mmesid.reporting.tables import excludes_history, result_rows

TITLE = "MME-SID: the paper's experiment"
PLACE = Path("reports", "paper")
METRICS = tuple(f"{kind}_at_{k}" for kind in ("ndcg", "hr") for k in (5, 10, 20))
Keys = Mapping[str, Mapping[tuple[str, int], str] | None]  # by dataset, see `ablate.keys`
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
    every = _each(results, keys)
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
        _order(ours),
        _spectra(ours),
        _codes(ours),
        _cost(ours, judged_by),
        claims.section(load_claims(root)),
    ]


class _Each(NamedTuple):
    """An ablation of a dataset, and its results over the seeds."""

    dataset: str
    ablation: str
    found: list[AblationResult]
    old: list[int]  # seeds whose result is of other parameters or code than those of now

    @property
    def label(self) -> str:
        """The ablation, and whether a result of it is outdated."""
        return f"{self.ablation} (of other parameters or code)" if self.old else self.ablation

    @property
    def command(self) -> str:
        """That makes the results."""
        return f"`{command_of(self.dataset, self.ablation, [result.seed for result in self.found])}`"


def _each(results: Mapping[str, Sequence[AblationResult]], keys: Keys) -> list[_Each]:
    """Every ablation of every dataset."""
    found = []
    for dataset, every in results.items():
        known = keys[dataset] or {}
        for name in dict.fromkeys(result.name for result in every):
            taken = counted([result for result in every if result.name == name], known)
            found.append(_Each(dataset, name, taken, outdated(taken, known)))
    return found


def in_order(names: Sequence[str]) -> list[str]:
    """Each once, the bundled dataset first."""
    return sorted(set(names), key=lambda name: (name != BUNDLED, name))


def _results(
    names: Sequence[str], metrics: Mapping[str, Any], every: Sequence[_Each], unknown: Sequence[str], root: Path
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


def _over_seeds(best: _Each) -> list[list[str]]:
    told = seeds([result.seed for result in best.found], best.old)
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


def _order(every: Sequence[_Each]) -> Section:
    kinds = {BEFORE: "trained codes", "tau_random_init": "random codes", AFTER: "after fine-tuning"}
    rows = []
    for each in every:
        by_kind = {kind: order_kept(each.found, kind) for kind in kinds}
        for modality in by_kind[BEFORE]:
            cells = [
                f"{kept_by.value:.1f} [{kept_by.low:.1f}, {kept_by.high:.1f}]"
                if (kept_by := by_kind[kind].get(modality))
                else NOTHING
                for kind in kinds
            ]
            rows.append([each.dataset, each.label, modality, *cells, each.command])
    text = (
        "Kendall's tau times 100 between a history's similarities to the target by the original embeddings and by the "
        "code embeddings, averaged over test users with at least three items; chance is 0."
    )
    return Section("Order kept", text, ["dataset", "ablation", "modality", *kinds.values(), "made by"], rows)


def _spectra(every: Sequence[_Each]) -> Section:
    heads = ["dataset", "ablation", "of what", "C", "kept (above 1 % of the largest)", "effective rank", "made by"]
    rows = []
    for each in every:
        for spectrum in dict.fromkeys(key for result in each.found for key in result.spectra):
            parts = [np.array(result.spectra[spectrum]) for result in each.found if spectrum in result.spectra]
            if spectrum != "item input" and each.ablation not in ("best", "paper"):
                continue  # the comparison is that of one of the two everywhere
            share = float(np.mean([np.mean(part > 0.01) for part in parts]))
            rank = float(np.mean([_effective_rank(part) for part in parts]))
            values = [str(len(parts[0])), f"{share:.1%}", f"{rank:.1f}"]
            rows.append([each.dataset, each.label, spectrum, *values, each.command])
    text = "Singular values of the centered item matrix in the backbone's space; means over seeds."
    return Section("Spectra", text, heads, rows)


def _effective_rank(shares: Any) -> float:
    p = shares[shares > 0] / shares.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def _codes(every: Sequence[_Each]) -> Section:
    rows = []
    for each in every:
        for modality in each.found[0].metrics["tokenizer"]:
            told = [result.metrics["tokenizer"][modality] for result in each.found]
            collisions = float(np.mean([of["collision_rate"] for of in told]))
            use = min(min(of.get("code_use_by_level", [of["code_use"]])) for of in told)
            rows.append([each.dataset, each.label, modality, f"{collisions:.2%}", f"{use:.1%}", each.command])
    heads = ["dataset", "ablation", "modality", "collisions", "codes in use, worst level", "made by"]
    return Section("Semantic IDs", "Collisions: items whose whole semantic ID another item has as well.", heads, rows)


def _cost(every: Sequence[_Each], judged_by: Mapping[str, str]) -> Section:
    heads = ["dataset", "ablation", "minutes of a run", "tokens read", f"{metric_label(MAIN_METRIC)} over SASRec"]
    heads += ["minutes per .01", "million tokens per .01", "made by"]
    rows = []
    for each in every:
        row = judged_by[each.ablation]
        minutes = [result.minutes for result in each.found if result.minutes is not None]
        spent, tokens = (float(np.mean(minutes)) if minutes else None), float(np.mean([r.tokens for r in each.found]))
        gain = difference((each.found, row), (each.found, MAIN_BASELINE))
        assert gain is not None
        worth = gain.value / 0.01
        rows.append(
            [
                each.dataset,
                each.label,
                NOTHING if spent is None else f"{spent:.1f}",
                f"{tokens:,.0f}",
                f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]",
                NOTHING if spent is None or worth <= 0 else f"{spent / worth:.1f}",
                NOTHING if worth <= 0 else f"{tokens / 1e6 / worth:.2f}",
                each.command,
            ]
        )
    text = (
        "Minutes of all stages from the source on, on the machine that ran them, wherever a stage's result came from; "
        "tokens that fine-tuning read in all epochs, prompts included. The gain is of the whole model, of the network "
        "alone where an ablation is judged by it; without a gain there is no price."
    )
    return Section("Cost", text, heads, rows)
