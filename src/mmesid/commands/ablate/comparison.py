"""Results of ablations against the reference: means over seeds, bootstrap over users."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.ablations import AblationResult, load_all
from mmesid.artifacts.values import Split
from mmesid.commands.ablate.left_out import absent_modalities, unread
from mmesid.evaluation.metrics import per_user
from mmesid.evaluation.statistics import confidence_interval, paired_bootstrap
from mmesid.models import MAIN_METRIC, MAIN_MODEL, NETWORK_MODEL, RANK_METRICS, WITHOUT_NETWORK, alone
from mmesid.pipeline.ablations import REFERENCE, Ablation
from mmesid.reporting.ablations import AblationRow, Estimate

SEEDS = 3  # that `mmesid ablate` runs by itself
RESAMPLES, SEED = 2000, 0  # of the bootstrap
DEPTH = tuple(name for name in RANK_METRICS if name != "mrr")  # ranks are kept as far as these look
AFTER, BEFORE = "tau_finetuned", "tau_init"


def rows(
    ablations: Sequence[Ablation],
    dataset: str,
    parameters: Mapping[str, Any],
    keys: Mapping[tuple[str, int], str],
    root: Path,
) -> list[AblationRow]:
    """One for each ablation, in their order; those without any result say by which command they are made.

    Args:
        ablations: of conf/ablations.yaml.
        dataset: whose results these are.
        parameters: of the dataset by section, as far as they are known.
        keys: of runs as they would be made now, by name and seed; a result with another one is outdated.
        root: the project's folder.
    """
    found = load_all(root, dataset)
    reference = counted([result for result in found if result.name == REFERENCE], keys)
    return [
        AblationRow(ablation.name, ablation.tells, "", ablation.row, lacks, ignored)
        if any((lacks := absent_modalities(ablation, parameters), ignored := unread(ablation, parameters)))
        else _row(ablation, dataset, of_ablation(found, ablation), reference, keys)
        for ablation in ablations
    ]


def of_ablation(found: Sequence[AblationResult], ablation: Ablation) -> list[AblationResult]:
    """Its results; one that lacks the row it is judged by was made before the entry named that row."""
    return [result for result in found if result.name == ablation.name and ablation.row in result.ranks]


def counted(results: Sequence[AblationResult], keys: Mapping[tuple[str, int], str]) -> list[AblationResult]:
    """Of an ablation's results those that are averaged user by user: of the task of the first that is of now's
    parameters and code, else of the first.
    """
    new = (result for result in results if keys.get((result.name, result.seed)) == result.key)
    first = next(new, next(iter(results), None))
    return [result for result in results if first and result.task == first.task]


def outdated(results: Sequence[AblationResult], keys: Mapping[tuple[str, int], str]) -> list[int]:
    """Seeds whose result is of other parameters or code than those of now, as far as anybody can tell."""
    return [result.seed for result in results if keys.get((result.name, result.seed), result.key) != result.key]


def _row(
    ablation: Ablation,
    dataset: str,
    every: Sequence[AblationResult],
    reference: Sequence[AblationResult],
    keys: Mapping[tuple[str, int], str],
) -> AblationRow:
    results = counted(every, keys)
    seeds = [result.seed for result in results]
    command = command_of(dataset, ablation.name, [result.seed for result in every])
    if not results:
        return AblationRow(ablation.name, ablation.tells, command, ablation.row)
    minutes = [result.minutes for result in results if result.minutes is not None]
    network, is_ours = alone(ablation.row), ablation.row in (MAIN_MODEL, NETWORK_MODEL)
    judged, has_none = _with_validation(results, ablation.row), ablation.row in WITHOUT_NETWORK
    is_reference, ours, theirs = ablation.name == REFERENCE, (results, ablation.row), (reference, MAIN_MODEL)
    return AblationRow(
        name=ablation.name,
        tells=ablation.tells,
        command=command,
        row=ablation.row,
        seeds=seeds,
        outdated=outdated(results, keys),
        apart=[result.seed for result in every if result.seed not in seeds],
        metrics={name: mean(results, ablation.row, name) for name in DEPTH},
        by_seed={r.seed: float(values(r, ablation.row, MAIN_METRIC).mean()) for r in results},
        difference=None if is_reference else difference(ours, theirs),
        incomparable="" if is_reference else _incomparable(results, reference),
        valid=_estimate(averaged(judged, ablation.row, MAIN_METRIC, "valid")) if judged else None,
        valid_seeds=[result.seed for result in judged],
        valid_difference=None if is_reference else difference(ours, theirs, split="valid"),
        network=None if has_none else mean(results, network, MAIN_METRIC),
        network_difference=None
        if is_reference or has_none
        else difference((results, network), (reference, NETWORK_MODEL)),
        order_kept=order_kept(results) if is_ours else {},
        kept_dimensions=_kept_dimensions(results) if is_ours else None,
        minutes=float(np.mean(minutes)) if minutes else None,
        tokens=round(float(np.mean([result.tokens for result in results]))) if is_ours else None,
    )


def _kept_dimensions(results: Sequence[AblationResult]) -> float:
    return float(np.mean([result.metrics["collapse"]["kept_dimensions"] for result in results]))


def command_of(dataset: str, names: str, seeds: Iterable[int] = ()) -> str:
    """What makes these seeds of ablations, `mse,mmd`; without any, as many as `mmesid ablate` runs by itself."""
    return f"mmesid ablate {dataset} --only {names} --seeds {max(seeds, default=SEEDS - 1) + 1}"


def values(result: AblationResult, row: str, metric: str, split: Split = "test") -> NDArray[np.float64]:
    """A metric of each user of a split, (B,) of test or (G,) of validation."""
    ranks = result.ranks if split == "test" else result.valid_ranks
    return per_user(ranks[row].astype(np.int64), [metric])[metric]


def averaged(results: Sequence[AblationResult], row: str, metric: str, split: Split = "test") -> NDArray[np.float64]:
    """A metric of each user of a split over the seeds, (B,) of test or (G,) of validation."""
    return np.asarray(np.mean([values(result, row, metric, split) for result in results], axis=0))


def mean(results: Sequence[AblationResult], row: str, metric: str) -> Estimate:
    """Over test users and seeds."""
    return _estimate(averaged(results, row, metric))


def _with_validation(results: Sequence[AblationResult], row: str) -> list[AblationResult]:
    """Those that keep validation ranks of a row: earlier ones do not."""
    return [result for result in results if row in result.valid_ranks]


def difference(
    one: tuple[Sequence[AblationResult], str],
    other: tuple[Sequence[AblationResult], str],
    metric: str = MAIN_METRIC,
    split: Split = "test",
) -> Estimate | None:
    """One row's metric minus another's, over the seeds that both have, paired over users.

    Args:
        one, other: results and the row.
        metric: that is compared.
        split: on whose users.

    Returns:
        None where no seed has both with the same users.
    """
    if split == "valid":
        one, other = ((_with_validation(results, row), row) for results, row in (one, other))
    mine, theirs = common_results(one[0], other[0])
    if not mine:
        return None
    values_of_one, values_of_other = averaged(mine, one[1], metric, split), averaged(theirs, other[1], metric, split)
    found = paired_bootstrap(values_of_one, values_of_other, RESAMPLES, SEED)
    return Estimate(found.difference, found.low, found.high)


def common_results(
    one: Sequence[AblationResult], other: Sequence[AblationResult]
) -> tuple[list[AblationResult], list[AblationResult]]:
    """Those of the seeds that both have, of the same task."""
    tasks = {result.seed: result.task for result in one}
    theirs = [result for result in other if tasks.get(result.seed) == result.task]
    seeds = {result.seed for result in theirs}
    return [result for result in one if result.seed in seeds], theirs


def _incomparable(results: Sequence[AblationResult], reference: Sequence[AblationResult]) -> str:
    """Why no user of an ablation can be paired with the reference's; empty where some can."""
    if not reference:
        return f"{REFERENCE} was not run"
    if common_results(results, reference)[0]:
        return ""
    shared = {result.seed for result in results} & {result.seed for result in reference}
    return "not compared: other users or candidates" if shared else f"not compared: no seed of {REFERENCE}'s"


def order_kept(results: Sequence[AblationResult], kind: str | None = None) -> dict[str, Estimate]:
    """Tau x 100 by modality over users and seeds; without a kind, after fine-tuning where items are made of codes."""
    modalities = sorted({name.partition(".")[0] for result in results for name in result.taus})
    found = {}
    for modality in modalities:
        kinds = [kind] if kind else [AFTER, BEFORE]
        name = next((f"{modality}.{k}" for k in kinds if all(f"{modality}.{k}" in r.taus for r in results)), None)
        if name:
            label = modality if kind or name.endswith(AFTER) else f"({modality})"
            taus = tau_by_user([result.taus[name] for result in results])
            found[label] = _estimate(100 * taus[~np.isnan(taus)])
    return found


def tau_by_user(taus: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Of each user over the seeds that judged the user, (B,); nan for whom none did."""
    every = np.array(taus, dtype=np.float64)  # (seeds, B)
    judged = ~np.isnan(every)
    times = judged.sum(axis=0)
    sums = np.where(judged, every, 0.0).sum(axis=0)
    return np.where(times > 0, sums / np.maximum(times, 1), np.nan)


def _estimate(each: NDArray[np.float64]) -> Estimate:
    low, high = confidence_interval(each, RESAMPLES, SEED)
    return Estimate(float(each.mean()), low, high)
