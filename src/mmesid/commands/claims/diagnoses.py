"""What the paper run shows beside its results: order kept, spectra, semantic IDs, cost, by ablation."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmesid.artifacts.ablations import AblationResult
from mmesid.commands.ablate.comparison import (
    AFTER,
    BEFORE,
    command_of,
    counted,
    difference,
    order_kept,
    outdated,
)
from mmesid.models import MAIN_BASELINE, MAIN_METRIC, metric_label
from mmesid.reporting.ablations import NOTHING, seeds
from mmesid.reporting.document import Section

Keys = Mapping[str, Mapping[tuple[str, int], str] | None]  # by dataset, see `ablate.keys`


class Each(NamedTuple):
    """An ablation of a dataset, and its results over the seeds."""

    dataset: str
    ablation: str
    found: list[AblationResult]
    old: list[int]  # seeds whose result is of other parameters or code than those of now
    apart: list[int]  # other seeds, whose users or candidates are not the same: they count nowhere

    @property
    def label(self) -> str:
        """The ablation, and whether a result of it is outdated."""
        return f"{self.ablation} (of other parameters or code)" if self.old else self.ablation

    @property
    def seeds(self) -> str:
        """That are averaged, and those that are not."""
        return seeds([result.seed for result in self.found], apart=self.apart)

    @property
    def command(self) -> str:
        """That makes the results."""
        return f"`{command_of(self.dataset, self.ablation, [result.seed for result in self.found])}`"


def each_of(results: Mapping[str, Sequence[AblationResult]], keys: Keys) -> list[Each]:
    """Every ablation of every dataset."""
    found = []
    for dataset, every in results.items():
        known = keys[dataset] or {}
        for name in dict.fromkeys(result.name for result in every):
            own = [result for result in every if result.name == name]
            taken = counted(own, known)
            counts = {result.seed for result in taken}
            apart = [result.seed for result in own if result.seed not in counts]
            found.append(Each(dataset, name, taken, outdated(taken, known), apart))
    return found


def order(every: Sequence[Each]) -> Section:
    """Order of distances that code embeddings keep, by modality."""
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
            rows.append([each.dataset, each.label, each.seeds, modality, *cells, each.command])
    text = (
        "Kendall's tau times 100 between a history's similarities to the target by the original embeddings and by the "
        "code embeddings, averaged over test users with at least three earlier items, at most "
        "`evaluate.forgetting_users`; chance is 0."
    )
    return Section("Order kept", text, ["dataset", "ablation", "seeds", "modality", *kinds.values(), "made by"], rows)


def spectra(every: Sequence[Each]) -> Section:
    """Dimensions that item vectors fill."""
    heads = [
        "dataset",
        "ablation",
        "seeds",
        "of what",
        "C",
        "kept (above 1 % of the largest)",
        "effective rank",
        "made by",
    ]
    rows = []
    for each in every:
        for spectrum in dict.fromkeys(key for result in each.found for key in result.spectra):
            parts = [np.array(result.spectra[spectrum]) for result in each.found if spectrum in result.spectra]
            if spectrum != "item input" and each.ablation not in ("best", "paper"):
                continue  # the comparison is that of one of the two everywhere
            share = float(np.mean([np.mean(part > 0.01) for part in parts]))
            rank = float(np.mean([_effective_rank(part) for part in parts]))
            values = [str(len(parts[0])), f"{share:.1%}", f"{rank:.1f}"]
            rows.append([each.dataset, each.label, each.seeds, spectrum, *values, each.command])
    text = "Singular values of the centered item matrix in the backbone's space; means over seeds."
    return Section("Spectra", text, heads, rows)


def _effective_rank(shares: Any) -> float:
    p = shares[shares > 0] / shares.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def codes(every: Sequence[Each]) -> Section:
    """Collisions and use of semantic IDs, by modality."""
    rows = []
    for each in every:
        for modality in each.found[0].metrics["tokenizer"]:
            told = [result.metrics["tokenizer"][modality] for result in each.found]
            collisions = float(np.mean([of["collision_rate"] for of in told]))
            use = min(min(of.get("code_use_by_level", [of["code_use"]])) for of in told)
            rows.append(
                [each.dataset, each.label, each.seeds, modality, f"{collisions:.2%}", f"{use:.1%}", each.command]
            )
    heads = ["dataset", "ablation", "seeds", "modality", "collisions", "codes in use, worst level", "made by"]
    return Section("Semantic IDs", "Collisions: items whose whole semantic ID another item has as well.", heads, rows)


def cost(every: Sequence[Each], judged_by: Mapping[str, str]) -> Section:
    """Minutes and tokens, and what they buy.

    Args:
        every: whose row is ours.
        judged_by: the row of each ablation.
    """
    heads = [
        "dataset",
        "ablation",
        "seeds",
        "minutes of a run",
        "tokens read",
        f"{metric_label(MAIN_METRIC)} over SASRec",
    ]
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
                each.seeds,
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
