"""Metrics of `evaluate` -> rows of tables. Whatever a dataset lacks is left out, never an error."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

Metrics = Mapping[str, Any]

RANKING = ("ndcg_at_5", "ndcg_at_10", "ndcg_at_20", "hr_at_5", "hr_at_10", "hr_at_20", "mrr")
MAIN = "ndcg_at_10"
REFERENCE = "oracle"  # knows the law the catalogue was drawn from: a bound, not a competitor
MODELS = {"mme_sid": "MME-SID", "sasrec": "SASRec", "popularity": "Popularity", REFERENCE: "Oracle"}
ADAPTERS = {"lora": "LoRA", "full": "all weights trained"}
STAGES = {  # with training curves; those that select a checkpoint first
    "encode_collaborative": "Collaborative encoder",
    "finetune": "Fine-tuning",
    "encode_content": "Content encoder",
    "tokenize": "Tokenizer",
    "init_codes": "Backbone",
}
SLICES = {"item_frequency": "Training interactions of the target", "history_length": "Items in the history"}
TOKENIZER = {
    "collision_rate": "Collision rate",
    "code_use": "Codes in use",
    "perplexity": "Perplexity",
    "reconstruction": "Reconstruction error",
}
ORDER_KEPT = {
    "tau_random_init": "random codes",
    "tau_init": "trained codes",
    "tau_finetuned": "trained codes, fine-tuned",
}


class Cell(NamedTuple):
    """One metric of one model, with its 95 % interval where there is one."""

    value: float
    interval: tuple[float, float] | None
    best: bool


class ResultRow(NamedTuple):
    """One model on one dataset; cells follow RANKING."""

    dataset: str
    model: str
    label: str
    reference: bool
    cells: list[Cell | None]
    oracle_share: float | None  # of the oracle's nDCG@10


class Comparison(NamedTuple):
    """MME-SID against a baseline: paired difference in nDCG@10 over the test users."""

    baseline: str
    difference: float
    low: float
    high: float
    p_value: float | None
    relative: float | None

    @property
    def verdict(self) -> str:
        """`above` or `below` where the interval leaves zero out, else `undecided`."""
        return "above" if self.low > 0 else "below" if self.high < 0 else "undecided"


def metric_label(name: str) -> str:
    """`ndcg_at_10` -> `nDCG@10`."""
    return name.replace("ndcg", "nDCG").replace("hr", "HR").replace("mrr", "MRR").replace("_at_", "@")


def model_label(model: str, metrics: Metrics) -> str:
    """A model's printed name; MME-SID always says how its backbone was trained."""
    label = MODELS.get(model, model)
    adapter = metrics.get("adapter") if model == "mme_sid" else None
    return f"{label} ({ADAPTERS.get(adapter, adapter)})" if adapter else label


def result_rows(dataset: str, metrics: Metrics, split: str = "test") -> list[ResultRow]:
    """Every model that `split` holds: the known ones first and in their order, the oracle last.

    The best value of each metric among the competitors (all but the oracle) is marked; a tie marks all.
    """
    found = {name: scores for name, scores in part(metrics, split).items() if _number(_get(scores, MAIN)) is not None}
    known = list(MODELS)[:-1]
    order = (
        [m for m in known if m in found] + sorted(set(found) - set(MODELS)) + [m for m in (REFERENCE,) if m in found]
    )
    best = {
        name: max(values)
        for name in RANKING
        if (values := [v for m in order if m != REFERENCE and (v := _number(found[m].get(name))) is not None])
    }
    bound = _number(part(found, REFERENCE).get(MAIN))
    return [_result_row(dataset, model, metrics, found[model], best, bound) for model in order]


def _result_row(
    dataset: str, model: str, metrics: Metrics, scores: Metrics, best: Mapping[str, float], bound: float | None
) -> ResultRow:
    reference = model == REFERENCE
    cells = [_cell(scores, name, None if reference else best.get(name)) for name in RANKING]
    share = None if reference or not bound else scores[MAIN] / bound
    return ResultRow(dataset, model, model_label(model, metrics), reference, cells, share)


def _cell(scores: Metrics, name: str, best: float | None) -> Cell | None:
    value = _number(scores.get(name))
    if value is None:
        return None
    interval = part(scores, "ci95").get(name)
    return Cell(value, (float(interval[0]), float(interval[1])) if interval else None, value == best)


def comparisons(metrics: Metrics) -> list[Comparison]:
    """MME-SID against each baseline that `evaluate` compared it with on the test users."""
    test = part(metrics, "test")
    rows = []
    for baseline, found in part(part(test, "mme_sid"), "vs").items():
        difference, low, high = (_number(_get(found, key)) for key in ("difference", "low", "high"))
        if baseline == REFERENCE or difference is None or low is None or high is None:
            continue
        base = _number(part(test, baseline).get(MAIN))
        label = MODELS.get(baseline, baseline)
        rows.append(Comparison(label, difference, low, high, _number(found.get("p_value")), base and difference / base))
    order = list(MODELS.values())
    return sorted(rows, key=lambda row: order.index(row.baseline) if row.baseline in order else len(order))


def slice_tables(metrics: Metrics) -> dict[str, list[dict[str, Any]]]:
    """nDCG@10 by training frequency of the target and by history length: rows {bucket, users, mme_sid, sasrec}."""
    slices = part(part(metrics, "test"), "slices")
    return {title: list(slices[name]) for name, title in SLICES.items() if slices.get(name)}


def by_modality(section: Metrics, columns: Mapping[str, str]) -> list[tuple[str, list[float | None]]]:
    """A section keyed by modality as rows, values in the order of `columns`."""
    return [
        (modality, [_number(_get(values, name)) for name in columns])
        for modality, values in section.items()
        if isinstance(values, Mapping) and any(name in values for name in columns)
    ]


def markdown_table(metrics_by_dataset: Mapping[str, Metrics]) -> str:
    """Dataset x model x nDCG@5 and nDCG@10 on test users with 95 % intervals, as Markdown."""
    lines = ["| dataset | model | nDCG@5 | nDCG@10 |", "|---|---|---|---|"]
    for dataset, metrics in metrics_by_dataset.items():
        for row in result_rows(dataset, metrics):
            cells = " | ".join(_markdown_cell(row.cells[RANKING.index(name)]) for name in ("ndcg_at_5", MAIN))
            lines.append(f"| {dataset} | {f'*{row.label}*' if row.reference else row.label} | {cells} |")
    return "\n".join(lines) + "\n"


def _markdown_cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    value = f"**{cell.value:.4f}**" if cell.best else f"{cell.value:.4f}"
    return f"{value} [{cell.interval[0]:.4f}, {cell.interval[1]:.4f}]" if cell.interval else value


def part(mapping: Any, key: str) -> Mapping[str, Any]:
    """`mapping[key]` if both are mappings, else an empty one."""
    found = _get(mapping, key)
    return found if isinstance(found, Mapping) else {}


def _get(mapping: Any, key: str) -> Any:
    return mapping.get(key) if isinstance(mapping, Mapping) else None


def _number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None
