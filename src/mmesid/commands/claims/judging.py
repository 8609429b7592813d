"""Each of the paper's claims, judged on what is kept of the ablations. What was not run is said, never guessed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from mmesid.artifacts import ablations as kept
from mmesid.artifacts.ablations import AblationResult
from mmesid.artifacts.claims import AGE_UNKNOWN, FAILS, HOLDS, NOT_JUDGED, NOT_RUN, OPEN, SILENT, Finding
from mmesid.commands import ablate
from mmesid.commands.ablate.comparison import (
    AFTER,
    BEFORE,
    RESAMPLES,
    SEED,
    averaged,
    command_of,
    common_results,
    difference,
    order_kept,
    tau_by_user,
)
from mmesid.evaluation.collapse import THRESHOLD
from mmesid.evaluation.statistics import paired_bootstrap
from mmesid.models import MAIN_BASELINE, NETWORK_MODEL
from mmesid.reporting.ablations import Estimate
from mmesid.reporting.claims import seeds_label

PUBLISHED = Path(__file__).with_name("published.yaml")
MODALITY = "collaborative"  # whose order the paper speaks of
METRIC = "ndcg_at_5"
Kept = Mapping[str, Sequence[AblationResult]]  # of one dataset, by ablation


class Judgment(NamedTuple):
    """What was measured, and what follows."""

    measured: str
    verdict: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


class _Dataset(NamedTuple):
    """A dataset with what is kept of its ablations, what is to be said of their age, and why some are left out."""

    name: str
    known: Kept
    age: Callable[[Sequence[str]], str]
    left_out: Mapping[str, str]


class Claim(NamedTuple):
    """The ablations that a claim is judged on, how, and those that stand beside them where they were run."""

    needs: tuple[str, ...]
    judge: Callable[[Kept, Mapping[str, Any]], Judgment]
    also: tuple[str, ...] = ()


def published() -> dict[str, Any]:
    """What others have published, with sources."""
    return dict(yaml.safe_load(PUBLISHED.read_text(encoding="utf-8")))


def findings(datasets: Sequence[str], root: Path) -> list[Finding]:
    """Every claim on every dataset.

    Args:
        datasets: in the order of the table.
        root: the project's folder.
    """
    told = published()["claims"]
    by_dataset = {dataset: _kept(dataset, root) for dataset in datasets}
    every = [_Dataset(n, known, _age(n, known, root), ablate.left_out(n, root)) for n, known in by_dataset.items()]
    return [_finding(name, told[name], claim, dataset) for name, claim in CLAIMS.items() for dataset in every]


def _kept(dataset: str, root: Path) -> dict[str, list[AblationResult]]:
    found: dict[str, list[AblationResult]] = {}
    for result in kept.load_all(root, dataset):
        found.setdefault(result.name, []).append(result)
    return found


def _age(dataset: str, known: Kept, root: Path) -> Callable[[Sequence[str]], str]:
    """Says of ablations which have a result of other parameters or code than those of now."""
    keys = ablate.keys(dataset, root) if known else {}
    if keys is None:
        return lambda names: f" {AGE_UNKNOWN}"  # this checkout has no conf of the dataset
    old = {name for name, found in known.items() if any(keys.get((name, r.seed)) != r.key for r in found)}

    def say(names: Sequence[str]) -> str:
        outdated = ", ".join(name for name in names if name in old)
        return f" ({outdated}: of other parameters or code)" if outdated else ""

    return say


def _finding(name: str, told: Mapping[str, Any], claim: Claim, dataset: _Dataset) -> Finding:
    every, known = (*claim.needs, *claim.also), dataset.known
    without = [f"{need} is left out ({dataset.left_out[need]})" for need in claim.needs if need in dataset.left_out]
    is_run = all(need in known for need in claim.needs)
    seeds = _common_seeds([known[need] for need in claim.needs]) if is_run else []
    if without:
        judged, seeds = Judgment("; ".join(without), NOT_JUDGED), []
    elif seeds:
        judged = claim.judge({part: [r for r in found if r.seed in seeds] for part, found in known.items()}, told)
        judged = judged._replace(measured=judged.measured + dataset.age(every))
    elif is_run:
        has = "; ".join(f"{need} has {_listed(known[need])}" for need in claim.needs)
        judged = Judgment(f"no seed is common to all, on the same users ({has})", NOT_JUDGED)
    else:
        judged = Judgment("–", NOT_RUN)
    return Finding(
        claim=name,
        says=told["says"],
        published=str(told["figure"]),
        source=told["source"],
        dataset=dataset.name,
        measured=judged.measured,
        value=judged.value,
        low=judged.low,
        high=judged.high,
        verdict=judged.verdict,
        seeds=seeds,
        command=command_of(dataset.name, ",".join(every), seeds),
    )


def _common_seeds(parts: Sequence[Sequence[AblationResult]]) -> list[int]:
    """Seeds that all have, each of the task of the first of them: only those can be averaged user by user."""
    common = set.intersection(*({(result.seed, result.task) for result in part} for part in parts))
    tasks = dict(sorted(common))
    return [seed for seed in tasks if tasks[seed] == next(iter(tasks.values()))]


def _listed(results: Sequence[AblationResult]) -> str:
    return seeds_label([result.seed for result in results])


def _side(low: float, high: float) -> str:
    """Of an interval that must lie above zero."""
    return HOLDS if low > 0 else FAILS if high < 0 else OPEN


def _points(name: str, found: Estimate) -> str:
    return f"{name} {found.value:.1f} % [{found.low:.1f}, {found.high:.1f}]"


def _level(ablation: str) -> Callable[[Kept, Mapping[str, Any]], Judgment]:
    """Order kept by the codes of one tokenizer: at least the published figure?"""

    def judge(known: Kept, told: Mapping[str, Any]) -> Judgment:
        every = order_kept(known[ablation], BEFORE)
        measured = "; ".join(_points(modality, found) for modality, found in every.items())
        main = every.get(MODALITY)
        if main is None:
            return Judgment(measured or "no collaborative codes", SILENT)
        figure = float(told["value"])
        return Judgment(measured, _side(main.low - figure, main.high - figure), *main)

    return judge


def _mmd_above_mse(known: Kept, told: Mapping[str, Any]) -> Judgment:
    parts = {m: _paired(known["mmd"], known["mse"], f"{m}.{BEFORE}") for m in order_kept(known["mse"], BEFORE)}
    found = {modality: part for modality, part in parts.items() if part}
    measured = "; ".join(f"{m} {d.value:+.1f} points [{d.low:+.1f}, {d.high:+.1f}]" for m, d in found.items())
    main = found.get(MODALITY)
    return Judgment(measured, _side(main.low, main.high), *main) if main else Judgment(measured or "–", SILENT)


def _random_forgets(known: Kept, told: Mapping[str, Any]) -> Judgment:
    every = order_kept(known["paper_random_codes"], AFTER)
    main = every.get(MODALITY)
    measured = "; ".join(f"{_points(modality, found)} kept" for modality, found in every.items())
    if main is None:
        return Judgment(measured or "–", SILENT)
    most = float(told["value"])
    return Judgment(measured, _side(most - main.high, most - main.low), *main)


def _trained_keeps(known: Kept, told: Mapping[str, Any]) -> Judgment:
    """Holds where trained minus 5 times random lies above zero: a ratio of two small numbers has no interval."""
    ratio = float(told["value"])
    found, parts = {}, []
    trained, drawn = order_kept(known["paper"], AFTER), order_kept(known["paper_random_codes"], AFTER)
    for modality in trained:
        beyond = _paired(known["paper"], known["paper_random_codes"], f"{modality}.{AFTER}", ratio)
        if beyond is None:
            continue
        found[modality], one, other = beyond, trained[modality].value, drawn[modality].value
        times = one / other if other > 0 else float("inf")
        parts.append(
            f"{modality} {one:.1f} % against {other:.1f} %, {times:.1f} times, "
            f"{beyond.value:+.1f} points [{beyond.low:+.1f}, {beyond.high:+.1f}] beyond {ratio:g} times"
        )
    main = found.get(MODALITY)
    return Judgment("; ".join(parts) or "–", _side(main.low, main.high) if main else SILENT, *(main or ()))


def _paired(
    one: Sequence[AblationResult], other: Sequence[AblationResult], name: str, factor: float = 1.0
) -> Estimate | None:
    """Tau x 100 of one minus `factor` times that of the other, over users whom both judge."""
    mine, theirs = common_results(one, other)
    if not mine or not all(name in result.taus for result in (*mine, *theirs)):
        return None
    a, b = (100 * tau_by_user([result.taus[name] for result in part]) for part in (mine, theirs))
    both = ~np.isnan(a) & ~np.isnan(b)
    if not both.any():
        return None
    found = paired_bootstrap(_floats(a[both]), _floats(factor * b[both]), RESAMPLES, SEED)
    return Estimate(found.difference, found.low, found.high)


def _floats(values: Any) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def _collaborative_collapses(known: Kept, told: Mapping[str, Any]) -> Judgment:
    shares = [
        _filled(result, "collaborative alone") for result in known["paper"] if "collaborative alone" in result.spectra
    ]
    if not shares:
        return Judgment("no collaborative embedding", SILENT)
    result = known["paper"][0]
    if result.parameters["encode_collaborative"]["encoder"] != "sasrec":
        return Judgment("the width of a precomputed embedding is not kept", SILENT)
    width, hidden = _width(result), len(result.spectra["collaborative alone"])
    if width >= hidden:
        return Judgment(f"D = {width} is no less than C = {hidden}: nothing could collapse", SILENT)
    kept_share, most = float(np.mean(shares)), width / hidden
    measured = f"{hidden * kept_share:.0f} of C = {hidden} dimensions filled at D = {width}, {1 - kept_share:.1%} empty"
    return Judgment(measured, HOLDS if kept_share <= most else FAILS, kept_share)


def _filled(result: AblationResult, spectrum: str) -> float:
    return float(np.mean(np.array(result.spectra[spectrum]) > THRESHOLD))


def _width(result: AblationResult) -> int:
    return int(result.parameters["encode_collaborative"]["dimension"])


def _input_does_not_collapse(known: Kept, told: Mapping[str, Any]) -> Judgment:
    shares = [_filled(result, "item input") for result in known["paper"]]
    hidden, items = len(known["paper"][0].spectra["item input"]), known["paper"][0].metrics["data"]["items"]
    share, least = float(np.mean(shares)), float(told["value"]) / 100
    bound = f", at most {items / hidden:.1%} with {items:,} items" if items < hidden else ""
    measured = f"{share:.1%} of C = {hidden} dimensions kept{bound}"
    return Judgment(measured, HOLDS if share >= least else FAILS, share)


def _above(other: str, row: str) -> Callable[[Kept, Mapping[str, Any]], Judgment]:
    """`best` against a row of another ablation; `paper`, where it was run, gets a verdict of its own."""

    def judge(known: Kept, told: Mapping[str, Any]) -> Judgment:
        main = difference((known["best"], NETWORK_MODEL), (known[other], row), METRIC)
        assert main is not None
        measured = f"with the dataset's settings {_gain(main, known['best'], known[other], row)}"
        paper = difference((known.get("paper", ()), NETWORK_MODEL), (known[other], row), METRIC)
        if paper is not None:
            gain = _gain(paper, known["paper"], known[other], row)
            measured += f"; {_side(paper.low, paper.high)}: with the paper's settings {gain}"
        return Judgment(measured, _side(main.low, main.high), *main)

    return judge


def _gain(found: Estimate, mine: Sequence[AblationResult], theirs: Sequence[AblationResult], row: str) -> str:
    """A difference, its share of the other's value, and the seeds where they are not all of the other's."""
    common = common_results(mine, theirs)[1]
    base = float(averaged(common, row, METRIC).mean())
    share = f", {100 * found.value / base:+.1f} %" if base else ""
    seeds = f", {_listed(common)}" if len(common) < len(theirs) else ""
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]{share}{seeds}"


CLAIMS = {
    "order_mse": Claim(("mse",), _level("mse")),
    "order_mmd": Claim(("mmd",), _level("mmd")),
    "mmd_above_mse": Claim(("mmd", "mse"), _mmd_above_mse),
    "random_forgets": Claim(("paper_random_codes",), _random_forgets),
    "trained_keeps": Claim(("paper", "paper_random_codes"), _trained_keeps),
    "collaborative_collapses": Claim(("paper",), _collaborative_collapses),
    "input_does_not_collapse": Claim(("paper",), _input_does_not_collapse),
    "above_e4srec": Claim(("best", "e4srec"), _above("e4srec", NETWORK_MODEL), ("paper",)),
    "above_collaborative": Claim(
        ("best", "collaborative_only"), _above("collaborative_only", NETWORK_MODEL), ("paper",)
    ),
    "above_sasrec": Claim(("best",), _above("best", MAIN_BASELINE), ("paper",)),
}
