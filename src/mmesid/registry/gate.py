"""Whether a challenger may become champion: a pure function of evidence and limits, clause by clause.

The evidence is about the gate's half of the validation users, on which no checkpoint was selected and no weight of late
fusion fitted. Test is only reported.

What a first champion must beat are the rows that stand for another system as it is: popularity and SASRec by itself.
SASRec with our fusion, the evidence without a network and our network without the fusion share parts with the
challenger; they show where its gain comes from, and demand nothing: a catalogue whose next item is as well told without
any network still gets the model that it can have.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmesid.config import Gate
from mmesid.evaluation.metrics import per_user
from mmesid.evaluation.statistics import paired_bootstrap
from mmesid.models import MAIN_METRIC, MAIN_MODEL, metric_label, with_role

BASELINES = with_role("baseline")  # every evaluation must hold their ranks


class GateEvidence(NamedTuple):
    """What a decision is based on; row i of all ranks is the same user of the gate."""

    challenger: NDArray[np.int64]  # (B,) rank of each user's validation target, 1 is best
    baselines: Mapping[str, NDArray[np.int64]]  # (B,) of each baseline
    champion: NDArray[np.int64] | None  # (B,) on the current data; None where there is no champion
    slices: Mapping[str, Sequence[Mapping[str, Any]]]  # mean gain of challenger and baselines, by kind of slice
    tokenizer: Mapping[str, Mapping[str, Any]]  # diagnostics by modality
    n_items: int  # N
    codes: int  # K


class Clause(NamedTuple):
    """One condition: what was observed, what it was compared with, and what the two mean."""

    name: str
    passed: bool
    observed: float | None  # None where it is not a finite number
    limit: float
    detail: str
    volatile: bool = False  # what it observes may differ the next time on the same evidence


class Decision(NamedTuple):
    """Passed if every clause is."""

    passed: bool
    clauses: list[Clause]


class Relative(NamedTuple):
    """A difference in mean gain as a share of the other model's, and its 95 % interval."""

    mean: float
    low: float
    high: float


def decide(evidence: GateEvidence, limits: Gate, seed: int) -> Decision:
    """Judge the challenger by the main metric, its semantic IDs and its slices.

    With a champion, the lower end of the paired-bootstrap 95 % interval of the difference must lie above
    -`limits.max_loss` of the champion's mean. Without one, the mean must lie above that of every baseline, popularity
    and SASRec by itself: nothing answers yet, and the record shows how certain the difference is.

    Args:
        evidence: ranks and diagnostics.
        limits: the `gate` section.
        seed: of the bootstrap.
    """
    clauses: list[Clause] = []
    for judge in CLAUSES.values():
        clauses += judge(evidence, limits, seed)
    return Decision(all(clause.passed for clause in clauses), clauses)


def enough_users(evidence: GateEvidence, limits: Gate, seed: int) -> list[Clause]:
    """A few users decide nothing."""
    users = len(evidence.challenger)
    return [_at_least("enough users", users, limits.min_users, f"{users} users of the gate")]


def ranks_valid(evidence: GateEvidence, limits: Gate, seed: int) -> list[Clause]:
    """Every model ranks the same users, from 1 to N, and no baseline is missing."""
    ranks_by_model = {"challenger": evidence.challenger, **evidence.baselines}
    if evidence.champion is not None:
        ranks_by_model["champion"] = evidence.champion
    invalid = []
    for model, ranks in ranks_by_model.items():
        out_of_range = (ranks < 1) | (ranks > evidence.n_items)
        if len(ranks) != len(evidence.challenger) or out_of_range.any():
            invalid.append(model)
    missing = [name for name in BASELINES if name not in evidence.baselines]
    detail = f"invalid: {', '.join(invalid) or 'none'}; missing: {', '.join(missing) or 'none'}"
    return [_at_most("ranks valid", len(invalid) + len(missing), 0, detail)]


def not_worse_than_champion(evidence: GateEvidence, limits: Gate, seed: int) -> list[Clause]:
    """Non-inferiority: noise must not hide a loss of more than `limits.max_loss`."""
    if evidence.champion is None or not _comparable(evidence.challenger, evidence.champion):
        return []
    relative, detail = _compare(evidence.challenger, evidence.champion, limits, seed)
    return [_above("against champion", relative.low, -limits.max_loss, detail)]


def beats_baselines(evidence: GateEvidence, limits: Gate, seed: int) -> list[Clause]:
    """The first champion must beat the baselines; the model's own parts and rivals with our fusion are none."""
    if evidence.champion is not None:
        return []
    clauses = []
    for name, ranks in evidence.baselines.items():
        if _comparable(evidence.challenger, ranks):
            relative, detail = _compare(evidence.challenger, ranks, limits, seed)
            clauses.append(_above(f"against {name}", relative.mean, 0, detail))
    return clauses


def codes_in_use(evidence: GateEvidence, limits: Gate, seed: int) -> list[Clause]:
    """Collapsed semantic IDs carry no information, even if the model's other inputs make up for it."""
    clauses = []
    reachable = min(1.0, evidence.n_items / evidence.codes)
    for modality, diagnostics in evidence.tokenizer.items():
        broken = sorted(name for name, value in diagnostics.items() if not _finite(value))
        detail = f"not finite: {', '.join(broken)}" if broken else "all finite"
        clauses.append(_at_most(f"{modality} diagnostics finite", len(broken), 0, detail))
        collisions, identical = diagnostics["collision_rate"], diagnostics.get("identical", 0.0)
        detail = f"{collisions:.1%} of the items share a semantic ID, {identical:.1%} must, as they are identical"
        clauses.append(_at_most(f"{modality} collisions", collisions - identical, limits.max_collisions, detail))
        code_use = diagnostics["code_use"]
        detail = f"{code_use:.1%} of the codes are used, {reachable:.1%} could be"
        clauses.append(_at_least(f"{modality} code use", code_use, limits.min_code_use * reachable, detail))
    return clauses


def no_empty_slice(evidence: GateEvidence, limits: Gate, seed: int) -> list[Clause]:
    """No slice of users may gain nothing from the challenger where a baseline certainly gives them something.

    Rule of three: no hit among n users bounds the true rate by 3 / n at 95 % confidence. Where the baseline's rate is
    below that, no hit of the challenger may be bad luck: a few users of rare items decide nothing.
    """
    clauses = []
    for kind, table in evidence.slices.items():
        empty = [str(row["bucket"]) for row in table if _is_empty(row, limits)]
        detail = f"{len(table)} slices"
        if empty:
            detail = f"{metric_label(MAIN_METRIC)} is 0 or not finite for {kind} {', '.join(empty)}"
        clauses.append(_at_most(f"slices by {kind}", len(empty), 0, detail))
    return clauses


CLAUSES: dict[str, Callable[[GateEvidence, Gate, int], list[Clause]]] = {
    "enough_users": enough_users,
    "ranks_valid": ranks_valid,
    "not_worse_than_champion": not_worse_than_champion,
    "beats_baselines": beats_baselines,
    "codes_in_use": codes_in_use,
    "no_empty_slice": no_empty_slice,
}


def _comparable(challenger: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Users that do not match, or none at all, are for `ranks_valid` and `enough_users` to refuse."""
    return 0 < len(challenger) == len(other)


def _compare(challenger: NDArray[np.int64], other: NDArray[np.int64], limits: Gate, seed: int) -> tuple[Relative, str]:
    """The difference in mean gain as a share of the other model's, and a description of it."""
    gains, other_gains = _gains(challenger), _gains(other)
    mean, other_mean = float(gains.mean()), float(other_gains.mean())
    difference, low, high, p_value = paired_bootstrap(gains, other_gains, limits.resamples, seed)
    scale = other_mean or 1.0  # an absolute difference where the other model gains nothing
    relative = Relative(difference / scale, low / scale, high / scale)
    detail = (
        f"{metric_label(MAIN_METRIC)} {mean:.4f} against {other_mean:.4f}: {relative.mean:+.2%}, 95 % from "
        f"{relative.low:+.2%} to {relative.high:+.2%}, p {p_value:.3g}"
    )
    return relative, detail


def _gains(ranks: NDArray[np.int64]) -> NDArray[np.floating]:
    """(B,) main metric of each user; ranks below 1, which `ranks_valid` refuses, count as 1."""
    return per_user(np.maximum(ranks, 1), [MAIN_METRIC])[MAIN_METRIC]


def _is_empty(row: Mapping[str, Any], limits: Gate) -> bool:
    gain, best_baseline = row[MAIN_MODEL], max(row.get(name, 0.0) for name in BASELINES)
    expected = best_baseline * row["users"] > limits.slice_gain
    return not math.isfinite(gain) or (gain <= 0 and expected)


def _at_most(name: str, value: float, limit: float, detail: str) -> Clause:
    return Clause(name, bool(value <= limit), _number(value), limit, detail)


def _at_least(name: str, value: float, limit: float, detail: str) -> Clause:
    return Clause(name, bool(value >= limit), _number(value), limit, detail)


def _above(name: str, value: float, limit: float, detail: str) -> Clause:
    return Clause(name, bool(value > limit), _number(value), limit, detail)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _finite(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(number, int | float) and math.isfinite(number) for number in values)
