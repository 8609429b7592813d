"""Metrics of `evaluate` -> rows of tables. Whatever a dataset lacks is left out, never an error."""

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mmesid.models import (
    LIST_METRICS,
    MAIN_METRIC,
    MAIN_MODEL,
    MODELS,
    RANK_METRICS,
    model_label,
    with_role,
)

Metrics = Mapping[str, Any]

ADAPTERS = {"lora": "LoRA", "full": "all weights trained", "frozen": "backbone frozen"}
STAGES = {  # with training curves; those that select a checkpoint first
    "encode_collaborative": "Collaborative encoder",
    "baselines/content_transformer": "Content transformer",
    "finetune": "Fine-tuning",
    "encode_content": "Content encoder",
    "tokenize": "Tokenizer",
    "init_codes": "Backbone",
}
SLICES = {"item_frequency": "Training interactions of the target", "history_length": "Items in the history"}
ORDER_KEPT = {
    "tau_random_init": "random codes",
    "tau_init": "trained codes",
    "tau_finetuned": "trained codes, fine-tuned",
}


class Diagnostic(NamedTuple):
    """How a diagnostic of the tokenizer is printed."""

    label: str
    text: str  # format of its value


TOKENIZER = {
    "collision_rate": Diagnostic("Collision rate", "{:.1%}"),
    "moved": Diagnostic("Moved", "{:.1%}"),
    "code_use": Diagnostic("Codes in use", "{:.1%}"),
    "perplexity": Diagnostic("Perplexity", "{:.1f}"),
    "reconstruction": Diagnostic("Reconstruction error", "{:.4f}"),
}


CANDIDATES = {True: "all but earlier items", False: "all items", None: ""}  # by `excludes_history`


class Cell(NamedTuple):
    """One metric of one model, with its 95 % interval where there is one."""

    value: float
    interval: tuple[float, float] | None
    best: bool


class ResultRow(NamedTuple):
    """One model on one dataset; cells follow RANK_METRICS, beyond_accuracy follows LIST_METRICS."""

    dataset: str
    model: str
    label: str
    is_bound: bool  # knows what generated the catalogue: nothing to compete with
    cells: list[Cell | None]
    beyond_accuracy: list[float | None]
    share_of_bound: float | None  # of the bound's nDCG@10


class BaselineDifference(NamedTuple):
    """MME-SID against a baseline: paired difference in nDCG@10 over the test users."""

    baseline: str
    difference: float
    low: float
    high: float
    p_value: float | None
    relative: float | None

    @property
    def verdict(self) -> str:
        """See `verdict`."""
        return verdict(self.low, self.high)


def verdict(low: float, high: float) -> str:
    """`above` or `below` where a 95 % interval leaves zero out, else `undecided`."""
    return "above" if low > 0 else "below" if high < 0 else "undecided"


def row_label(model: str, metrics: Metrics) -> str:
    """A model's printed name; MME-SID always says how its backbone was trained."""
    adapter = metrics.get("adapter") if model == MAIN_MODEL else None
    return f"{model_label(model)} ({ADAPTERS.get(adapter, adapter)})" if adapter else model_label(model)


def result_rows(dataset: str, metrics: Metrics, split: str = "test") -> list[ResultRow]:
    """Every model that `split` holds: the known ones in their order, bounds last.

    The best value of each metric among the competitors (all but bounds) is marked; a tie marks all.
    """
    scores = {name: part(metrics, split)[name] for name in _in_order(part(metrics, split))}
    bounds = with_role("bound")
    best = {}
    for name in RANK_METRICS:
        values = [number(scores[model].get(name)) for model in scores if model not in bounds]
        best[name] = max((value for value in values if value is not None), default=None)
    bound = next((number(scores[name].get(MAIN_METRIC)) for name in bounds if name in scores), None)
    return [_result_row(dataset, model, metrics, scores[model], best, bound) for model in scores]


def _in_order(models: Metrics) -> list[str]:
    """Names of what is a model (it has the main metric): the known ones, then others, bounds last."""
    ranked = {name for name, scores in models.items() if number(_get(scores, MAIN_METRIC)) is not None}
    bounds = with_role("bound")
    known, others = [name for name in MODELS if name not in bounds], sorted(ranked - set(MODELS))
    return [name for name in (*known, *others, *bounds) if name in ranked]


def _result_row(
    dataset: str,
    model: str,
    metrics: Metrics,
    scores: Metrics,
    best: Mapping[str, float | None],
    bound: float | None,
) -> ResultRow:
    is_bound = model in with_role("bound")
    cells = [_cell(scores, name, None if is_bound else best[name]) for name in RANK_METRICS]
    beyond_accuracy = [number(scores.get(name)) for name in LIST_METRICS]
    share = None if is_bound or not bound else scores[MAIN_METRIC] / bound
    return ResultRow(dataset, model, row_label(model, metrics), is_bound, cells, beyond_accuracy, share)


def _cell(scores: Metrics, name: str, best: float | None) -> Cell | None:
    value = number(scores.get(name))
    if value is None:
        return None
    interval = part(scores, "ci95").get(name)
    low, high = map(number, interval if isinstance(interval, list | tuple) and len(interval) == 2 else (None, None))
    return Cell(value, None if low is None or high is None else (low, high), value == best)


def differences(metrics: Metrics) -> list[BaselineDifference]:
    """MME-SID against each other row that `evaluate` compared it with on the test users, bounds left out."""
    test = part(metrics, "test")
    paired = part(part(test, MAIN_MODEL), "vs")
    rows = []
    for baseline in _in_order(test):
        difference, low, high = (number(_get(paired.get(baseline), key)) for key in ("difference", "low", "high"))
        if baseline in with_role("bound") or difference is None or low is None or high is None:
            continue
        base = number(part(test, baseline).get(MAIN_METRIC))
        p_value, relative = number(paired[baseline].get("p_value")), base and difference / base
        rows.append(BaselineDifference(model_label(baseline), difference, low, high, p_value, relative))
    return rows


def excludes_history(metrics: Metrics) -> bool | None:
    """Whether a user's earlier items are no candidates; None where metrics of an earlier version do not say so."""
    excluded = part(metrics, "protocol").get("exclude_history")
    return excluded if isinstance(excluded, bool) else None


def slice_tables(metrics: Metrics) -> dict[str, list[dict[str, Any]]]:
    """nDCG@10 by training frequency of the target and by history length: rows {bucket, users, and a value by model}."""
    slices = part(part(metrics, "test"), "slices")
    return {title: list(slices[name]) for name, title in SLICES.items() if slices.get(name)}


def slice_rows(table: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[float | None]]]:
    """A slice table turned round: the label of each model and its value in every bucket."""
    rows = list(table)
    models = [name for name in MODELS if any(name in row for row in rows)]
    return [(model_label(name), [number(row.get(name)) for row in rows]) for name in models]


def fusion_tables(metrics: Metrics) -> dict[str, dict[str, list[float]]]:
    """Weights of late fusion by model and kind of evidence, one for each bin of training interactions, ascending."""
    fusion = part(metrics, "fusion")
    return {
        model: {
            kind: [by_low[low] for low in sorted(by_low)] for kind, by_low in _weights_by_low(fusion[model]).items()
        }
        for model in MODELS
        if model in fusion
    }


def fusion_bins(metrics: Metrics) -> list[str]:
    """Names of the bins: `0-3`, `20+`."""
    every = [by_low for kinds in part(metrics, "fusion").values() for by_low in _weights_by_low(kinds).values()]
    lows = sorted(every[0]) if every else []
    return [f"{low}-{high - 1}" for low, high in itertools.pairwise(lows)] + [f"{low}+" for low in lows[-1:]]


def _weights_by_low(kinds: Metrics) -> dict[str, dict[int, float]]:
    """`{"text": {"from_4": .5}}` -> `{"text": {4: .5}}`; the network's one weight is left out."""
    return {
        kind: {int(name.removeprefix("from_")): weight for name, weight in weights.items()}
        for kind, weights in kinds.items()
        if isinstance(weights, Mapping)
    }


def by_modality(section: Metrics, columns: Iterable[str]) -> list[tuple[str, list[float | None]]]:
    """A section keyed by modality as rows, values in the order of `columns`."""
    return [
        (modality, [number(_get(values, name)) for name in columns])
        for modality, values in section.items()
        if isinstance(values, Mapping) and any(name in values for name in columns)
    ]


def part(mapping: Any, key: str) -> Mapping[str, Any]:
    """`mapping[key]` if both are mappings, else an empty one."""
    found = _get(mapping, key)
    return found if isinstance(found, Mapping) else {}


def _get(mapping: Any, key: str) -> Any:
    return mapping.get(key) if isinstance(mapping, Mapping) else None


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None
