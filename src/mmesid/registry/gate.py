"""Whether a challenger may become champion: a pure function of ranks, diagnostics and limits, clause by clause.

It looks at the gate's half of the validation users, which no checkpoint was selected on. Test is only reported.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmesid.evaluation.metrics import per_user
from mmesid.evaluation.statistics import paired_bootstrap

MEASURE = "ndcg_at_10"
BASELINES = ("sasrec", "popularity")


class Limits(NamedTuple):
    """What the clauses compare with."""

    loss: float = 0.01  # relative nDCG@10 that the challenger may lose against the champion, at 97.5 % confidence
    min_users: int = 30  # users of the gate below which nothing is decided
    slice_gain: float = 3.0  # nDCG@10 summed over a slice's users that luck alone does not take away
    collisions: float = 0.5  # share of items, beside identical ones, that share a semantic ID with another
    code_use: float = 0.1  # of the codes that the catalogue could use at most, min(K, N) / K
    resamples: int = 2000  # of the bootstrap
    seed: int = 0  # of the bootstrap


class Evidence(NamedTuple):
    """What a decision rests on; row i of every rank is the same user of the gate."""

    challenger: NDArray[np.int64]  # (B,) rank of each user's validation target, 1 is best
    baselines: Mapping[str, NDArray[np.int64]]  # (B,) of sasrec and popularity
    champion: NDArray[np.int64] | None  # (B,) on the current data; None where there is no champion
    slices: Mapping[str, Sequence[Mapping[str, Any]]]  # nDCG@10 of mme_sid, sasrec and popularity, by kind of slice
    tokenizer: Mapping[str, Mapping[str, Any]]  # diagnostics by modality
    n_items: int  # N
    codes: int  # K


class Clause(NamedTuple):
    """One condition: what was observed, what it was compared with, and what the two mean."""

    name: str
    passed: bool
    observed: float | None  # None where it is no finite number
    limit: float
    detail: str


class Decision(NamedTuple):
    """Passed if every clause is."""

    passed: bool
    clauses: list[Clause]


class Relative(NamedTuple):
    """A difference in mean nDCG@10 as a share of the other's, and its 95 % interval."""

    mean: float
    low: float
    high: float


def decide(evidence: Evidence, limits: Limits | None = None) -> Decision:
    """Judge the challenger.

    With a champion, the lower end of the paired-bootstrap 95 % interval of the difference in nDCG@10 must lie above
    -1 % of the champion's. Without one the mean itself must lie above SASRec's and popularity's: there is nothing yet
    that answers, and the record says how sure the difference is.

    Args:
        evidence: ranks and diagnostics.
        limits: what they are compared with.
    """
    limits = limits or Limits()
    clauses = [clause for judge in CLAUSES.values() for clause in judge(evidence, limits)]
    return Decision(all(clause.passed for clause in clauses), clauses)


def enough_users(evidence: Evidence, limits: Limits) -> list[Clause]:
    """A handful of users decides nothing."""
    users = len(evidence.challenger)
    return [Clause("enough users", users >= limits.min_users, users, limits.min_users, f"{users} users of the gate")]


def ranks_possible(evidence: Evidence, limits: Limits) -> list[Clause]:
    """Every model ranks the same users, from 1 to N."""
    models = {"challenger": evidence.challenger, **evidence.baselines}
    if evidence.champion is not None:
        models["champion"] = evidence.champion
    wrong = [
        name
        for name, ranks in models.items()
        if len(ranks) != len(evidence.challenger) or ((ranks < 1) | (ranks > evidence.n_items)).any()
    ]
    missing = [name for name in BASELINES if name not in models]
    detail = f"wrong: {', '.join(wrong) or 'none'}; missing: {', '.join(missing) or 'none'}"
    return [Clause("ranks possible", not wrong + missing, len(wrong + missing), 0, detail)]


def not_worse_than_champion(evidence: Evidence, limits: Limits) -> list[Clause]:
    """Non-inferiority: noise may not hide a loss of more than `limits.loss`."""
    if evidence.champion is None or len(evidence.champion) != len(evidence.challenger) or not len(evidence.challenger):
        return []
    relative, detail = _compare(evidence.challenger, evidence.champion, limits)
    return [Clause("against champion", relative.low > -limits.loss, relative.low, -limits.loss, detail)]


def better_than_baselines(evidence: Evidence, limits: Limits) -> list[Clause]:
    """The first champion must earn its place."""
    if evidence.champion is not None or not len(evidence.challenger):
        return []
    clauses = []
    for name, ranks in evidence.baselines.items():
        if len(ranks) == len(evidence.challenger):
            relative, detail = _compare(evidence.challenger, ranks, limits)
            clauses.append(Clause(f"against {name}", relative.mean > 0, relative.mean, 0, detail))
    return clauses


def codes_alive(evidence: Evidence, limits: Limits) -> list[Clause]:
    """Semantic IDs that have collapsed carry nothing, whatever the other inputs make up for."""
    clauses = []
    for modality, found in evidence.tokenizer.items():
        broken = sorted(name for name, value in found.items() if not _finite(value))
        detail = f"not finite: {', '.join(broken)}" if broken else "all finite"
        clauses.append(Clause(f"{modality} diagnostics finite", not broken, len(broken), 0, detail))
        collisions = found["collision_rate"] - found.get("identical", 0.0)
        text = f"{found['collision_rate']:.1%} of the items share a semantic ID, {found.get('identical', 0.0):.1%} must"
        clauses.append(_at_most(f"{modality} collisions", collisions, limits.collisions, text))
        reachable = min(1.0, evidence.n_items / evidence.codes)
        text = f"{found['code_use']:.1%} of the codes are used, {reachable:.1%} could be"
        clauses.append(_at_least(f"{modality} code use", found["code_use"], limits.code_use * reachable, text))
    return clauses


def slices_alive(evidence: Evidence, limits: Limits) -> list[Clause]:
    """No slice of users may get nothing from the challenger where a baseline surely gives them something.

    Rule of three: no hit among n users bounds the true rate by 3 / n at 95 % confidence. Where the baseline's rate is
    below that, nothing from the challenger is within luck: a few users of rare items decide nothing.
    """
    clauses = []
    for kind, table in evidence.slices.items():
        dead = [str(row["bucket"]) for row in table if _is_dead(row, limits)]
        detail = f"nDCG@10 is 0 or no number for {kind} {', '.join(dead)}" if dead else f"{len(table)} slices"
        clauses.append(Clause(f"slices by {kind}", not dead, len(dead), 0, detail))
    return clauses


CLAUSES: dict[str, Callable[[Evidence, Limits], list[Clause]]] = {
    "enough_users": enough_users,
    "ranks_possible": ranks_possible,
    "not_worse_than_champion": not_worse_than_champion,
    "better_than_baselines": better_than_baselines,
    "codes_alive": codes_alive,
    "slices_alive": slices_alive,
}


def _compare(challenger: NDArray[np.int64], other: NDArray[np.int64], limits: Limits) -> tuple[Relative, str]:
    """The difference in mean nDCG@10 as a share of the other's, and in words."""
    mine, theirs = (per_user(np.maximum(ranks, 1))[MEASURE] for ranks in (challenger, other))
    found = paired_bootstrap(mine, theirs, limits.resamples, limits.seed)
    base = float(theirs.mean())
    relative = Relative(*(value / (base or 1.0) for value in found[:3]))  # absolute where the other gets nothing right
    detail = (
        f"nDCG@10 {mine.mean():.4f} against {base:.4f}: {relative.mean:+.2%}, 95 % from {relative.low:+.2%} to "
        f"{relative.high:+.2%}, p {found.p_value:.3g}"
    )
    return relative, detail


def _is_dead(row: Mapping[str, Any], limits: Limits) -> bool:
    best = max(row.get(name, 0.0) for name in BASELINES)
    return not math.isfinite(row["mme_sid"]) or (row["mme_sid"] <= 0 and best * row["users"] > limits.slice_gain)


def _at_most(name: str, value: float, limit: float, detail: str) -> Clause:
    return Clause(name, bool(value <= limit), value if math.isfinite(value) else None, limit, detail)


def _at_least(name: str, value: float, limit: float, detail: str) -> Clause:
    return Clause(name, bool(value >= limit), value if math.isfinite(value) else None, limit, detail)


def _finite(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(number, int | float) and math.isfinite(number) for number in values)
