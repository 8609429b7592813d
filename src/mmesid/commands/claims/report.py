"""The paper run as one document: results beside what others have published, ablations, diagnoses, cost, claims."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmesid.artifacts import ablations as kept
from mmesid.artifacts.ablations import AblationResult
from mmesid.artifacts.claims import load as load_claims
from mmesid.artifacts.evaluate import reported_metrics
from mmesid.artifacts.files import write_atomically
from mmesid.commands import ablate
from mmesid.commands.ablate.comparison import AFTER, BEFORE, command_of, difference, mean, order_kept
from mmesid.commands.claims.judging import published
from mmesid.commands.results import BUNDLED, command_for
from mmesid.config import known_datasets
from mmesid.models import MAIN_BASELINE, MAIN_METRIC, MAIN_MODEL, MODELS, NETWORK_MODEL, metric_label, model_label
from mmesid.pipeline.ablations import read
from mmesid.reporting import claims
from mmesid.reporting.ablations import NOTHING, estimate
from mmesid.reporting.document import Section, to_html, to_latex, to_markdown
from mmesid.reporting.tables import result_rows

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
    results = {name: kept.load_all(root, name) for name in names}
    judged_by = {name: each.row for name, each in read(root).items()}
    ours = {name: [each for each in results[name] if _is_ours(each, judged_by)] for name in names}
    return [
        _results(names, metrics, results),
        _published(),
        *(
            ablate.shown(name, ablate.table(name, root), root)
            for name in names
            if results[name] or name in known_datasets(root)
        ),
        _order(names, ours),
        _spectra(names, ours),
        _codes(names, ours),
        _cost(names, ours, judged_by),
        claims.section(load_claims(root)),
    ]


def _is_ours(result: AblationResult, judged_by: Mapping[str, str]) -> bool:
    """Whether an ablation tells of MME-SID; minutes, codes and spectra beside a rival's row are none of the rival's."""
    return judged_by.get(result.name, MAIN_MODEL) in (MAIN_MODEL, NETWORK_MODEL)


def in_order(names: Sequence[str]) -> list[str]:
    """Each once, the bundled dataset first."""
    return sorted(set(names), key=lambda name: (name != BUNDLED, name))


def _results(
    names: Sequence[str], metrics: Mapping[str, Any], results: Mapping[str, Sequence[AblationResult]]
) -> Section:
    """Of all seeds that are kept of the dataset's own parameters, else of the one run behind metrics.json."""
    heads = ["dataset", "model", "seeds", *map(metric_label, METRICS), "made by"]
    rows = []
    for name in names:
        best = [result for result in results[name] if result.name == "best"]
        if best:
            rows += [_over_seeds(name, row, best) for row in MODELS if all(row in result.ranks for result in best)]
        elif name in metrics:
            rows += _of_one(name, metrics[name])
    text = (
        "Leave-one-out, full ranking over all items, the user's earlier items excluded, ties against the model. Each "
        "user's value is averaged over the seeds; 95 % intervals are over users. Ours only: what others have published "
        "stands in the next table."
    )
    return Section("Results on test users", text, heads, rows)


def _over_seeds(name: str, row: str, best: Sequence[AblationResult]) -> list[str]:
    values = [estimate(mean(best, row, metric)) for metric in METRICS]
    seeds = ", ".join(str(result.seed) for result in best)
    return [name, model_label(row), seeds, *values, _made_by(name, "best", best)]


def _of_one(name: str, metrics: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for row in result_rows(name, metrics):
        cells = [
            NOTHING
            if cell is None
            else f"{cell.value:.4f}" + (f" [{cell.interval[0]:.4f}, {cell.interval[1]:.4f}]" if cell.interval else "")
            for cell in row.cells[: len(METRICS)]
        ]
        rows.append([name, row.label, "one", *cells, f"`{command_for(name)}`"])
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


def _each(
    names: Sequence[str], results: Mapping[str, Sequence[AblationResult]]
) -> list[tuple[str, str, list[AblationResult]]]:
    """Dataset, ablation and its results over the seeds."""
    return [
        (name, ablation, [result for result in results[name] if result.name == ablation])
        for name in names
        for ablation in dict.fromkeys(result.name for result in results[name])
    ]


def _made_by(name: str, ablation: str, found: Sequence[AblationResult]) -> str:
    return f"`{command_of(name, ablation, [result.seed for result in found])}`"


def _order(names: Sequence[str], results: Mapping[str, Sequence[AblationResult]]) -> Section:
    kinds = {BEFORE: "trained codes", "tau_random_init": "random codes", AFTER: "after fine-tuning"}
    rows = []
    for name, ablation, found in _each(names, results):
        by_kind = {kind: order_kept(found, kind) for kind in kinds}
        for modality in by_kind[BEFORE]:
            cells = [
                f"{part.value:.1f} [{part.low:.1f}, {part.high:.1f}]"
                if (part := by_kind[kind].get(modality))
                else NOTHING
                for kind in kinds
            ]
            rows.append([name, ablation, modality, *cells, _made_by(name, ablation, found)])
    text = (
        "Kendall's tau times 100 between a history's similarities to the target by the original embeddings and by the "
        "code embeddings, averaged over test users with at least three items; chance is 0."
    )
    return Section("Order kept", text, ["dataset", "ablation", "modality", *kinds.values(), "made by"], rows)


def _spectra(names: Sequence[str], results: Mapping[str, Sequence[AblationResult]]) -> Section:
    heads = ["dataset", "ablation", "of what", "C", "kept (above 1 % of the largest)", "effective rank", "made by"]
    rows = []
    for name, ablation, found in _each(names, results):
        for spectrum in dict.fromkeys(key for result in found for key in result.spectra):
            parts = [np.array(result.spectra[spectrum]) for result in found if spectrum in result.spectra]
            if spectrum != "item input" and ablation not in ("best", "paper"):
                continue  # the comparison is that of one of the two everywhere
            share = float(np.mean([np.mean(part > 0.01) for part in parts]))
            rank = float(np.mean([_effective_rank(part) for part in parts]))
            rows.append(
                [
                    name,
                    ablation,
                    spectrum,
                    str(len(parts[0])),
                    f"{share:.1%}",
                    f"{rank:.1f}",
                    _made_by(name, ablation, found),
                ]
            )
    text = "Singular values of the centered item matrix in the backbone's space; means over seeds."
    return Section("Spectra", text, heads, rows)


def _effective_rank(shares: Any) -> float:
    p = shares[shares > 0] / shares.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def _codes(names: Sequence[str], results: Mapping[str, Sequence[AblationResult]]) -> Section:
    rows = []
    for name, ablation, found in _each(names, results):
        for modality, told in found[0].metrics["tokenizer"].items():
            every = [result.metrics["tokenizer"][modality] for result in found]
            collisions = float(np.mean([each["collision_rate"] for each in every]))
            use = min(min(each.get("code_use_by_level", [told["code_use"]])) for each in every)
            row = [name, ablation, modality, f"{collisions:.2%}", f"{use:.1%}", _made_by(name, ablation, found)]
            rows.append(row)
    heads = ["dataset", "ablation", "modality", "collisions", "codes in use, worst level", "made by"]
    return Section("Semantic IDs", "Collisions: items whose whole semantic ID another item has as well.", heads, rows)


def _cost(
    names: Sequence[str], results: Mapping[str, Sequence[AblationResult]], judged_by: Mapping[str, str]
) -> Section:
    heads = ["dataset", "ablation", "minutes of a run", "tokens read", f"{metric_label(MAIN_METRIC)} over SASRec"]
    heads += ["minutes per .01", "million tokens per .01", "made by"]
    rows = []
    for name, ablation, found in _each(names, results):
        row = judged_by.get(ablation, MAIN_MODEL)
        minutes = [result.minutes for result in found if result.minutes is not None]
        spent, tokens = (float(np.mean(minutes)) if minutes else None), float(np.mean([r.tokens for r in found]))
        gain = difference((found, row), (found, MAIN_BASELINE))
        assert gain is not None
        worth = gain.value / 0.01
        rows.append(
            [
                name,
                ablation,
                NOTHING if spent is None else f"{spent:.1f}",
                f"{tokens:,.0f}",
                f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]",
                NOTHING if spent is None or worth <= 0 else f"{spent / worth:.1f}",
                NOTHING if worth <= 0 else f"{tokens / 1e6 / worth:.2f}",
                _made_by(name, ablation, found),
            ]
        )
    text = (
        "Minutes of all stages from the source on, on the machine that ran them, wherever a stage's result came from; "
        "tokens that fine-tuning read in all epochs, prompts included. The gain is of the whole model, of the network "
        "alone where an ablation is judged by it; without a gain there is no price."
    )
    return Section("Cost", text, heads, rows)
