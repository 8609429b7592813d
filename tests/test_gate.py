"""The gate passes a sound challenger and fails on each planted fault."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mmesid.config import Gate
from mmesid.registry.gate import BASELINES, CLAUSES, Clause, Decision, GateEvidence, decide
from mmesid.registry.records import Record, describe, from_json, to_json

USERS, ITEMS, SEED = 600, 1000, 0
LIMITS = Gate(max_loss=0.01, min_users=30, slice_gain=3.0, max_collisions=0.5, min_code_use=0.1, resamples=2000)


def judged(evidence: GateEvidence, **limits: float) -> Decision:
    return decide(evidence, LIMITS.model_copy(update=limits), SEED)


def ranks(skill: float, seed: int = 0, users: int = USERS) -> NDArray[np.int64]:
    """Ranks of a model that places the target first with probability `skill`, else anywhere."""
    draw = np.random.default_rng(seed)
    lucky = draw.random(users) < skill
    return np.where(lucky, 1, draw.integers(1, ITEMS + 1, users)).astype(np.int64)


def slice_table(mme_sid: float = 0.2) -> list[dict[str, object]]:
    return [{"bucket": "5-19", "users": 200, "mme_sid": mme_sid, "sasrec": 0.1, "popularity": 0.0}]


def healthy() -> dict[str, float | list[float]]:
    return {"collision_rate": 0.05, "identical": 0.01, "code_use": 0.9, "code_use_by_level": [0.9, 0.9], "loss": 0.1}


def evidence(champion: bool) -> GateEvidence:
    return GateEvidence(
        challenger=ranks(0.5),
        baselines={"sasrec": ranks(0.2, 1), "popularity": ranks(0.05, 2)},
        champion=ranks(0.3, 3) if champion else None,
        slices={"item_frequency": slice_table()},
        tokenizer={"text": healthy(), "image": healthy()},
        n_items=ITEMS,
        codes=256,
    )


@pytest.mark.parametrize("champion", [True, False])
def test_a_sound_challenger_passes(champion: bool) -> None:
    decision = judged(evidence(champion))
    assert decision.passed, decision
    assert all(clause.passed for clause in decision.clauses)


def worse(sound: GateEvidence) -> GateEvidence:
    return sound._replace(challenger=ranks(0.1))


def broken(name: str, value: float) -> Callable[[GateEvidence], GateEvidence]:
    return lambda sound: sound._replace(tokenizer={**sound.tokenizer, "image": {**healthy(), name: value}})


FAULTS: dict[str, tuple[Callable[[GateEvidence], GateEvidence], bool, str]] = {
    "worse than the champion": (worse, True, "against champion"),
    "a little worse than the champion": (
        lambda sound: sound._replace(challenger=np.where(np.arange(USERS) % 20 == 0, ITEMS, sound.champion)),
        True,
        "against champion",
    ),
    "below sasrec": (worse, False, "against sasrec"),
    "equal to sasrec": (lambda sound: sound._replace(challenger=sound.baselines["sasrec"]), False, "against sasrec"),
    "equal to popularity": (
        lambda sound: sound._replace(baselines={**sound.baselines, "popularity": sound.challenger}),
        False,
        "against popularity",
    ),
    "a baseline missing": (
        lambda sound: sound._replace(baselines={"sasrec": sound.baselines["sasrec"]}),
        False,
        "ranks valid",
    ),
    "a rank of zero": (lambda sound: sound._replace(challenger=sound.challenger - 1), True, "ranks valid"),
    "a rank beyond the catalogue": (
        lambda sound: sound._replace(challenger=sound.challenger + ITEMS),
        True,
        "ranks valid",
    ),
    "champion ranked on other users": (
        lambda sound: sound._replace(champion=ranks(0.3, 3, 10)),
        True,
        "ranks valid",
    ),
    "a handful of users": (
        lambda sound: sound._replace(
            challenger=ranks(0.9, 0, 5), baselines={n: ranks(0.1, 1, 5) for n in sound.baselines}
        ),
        False,
        "enough users",
    ),
    "no users": (
        lambda sound: sound._replace(
            challenger=ranks(0.9, 0, 0), baselines={n: ranks(0.1, 1, 0) for n in sound.baselines}
        ),
        False,
        "enough users",
    ),
    "diagnostics not finite": (broken("loss", math.nan), True, "image diagnostics finite"),
    "collisions": (broken("collision_rate", 0.8), True, "image collisions"),
    "collisions not finite": (broken("collision_rate", math.nan), True, "image collisions"),
    "codes unused": (broken("code_use", 0.01), True, "image code use"),
    "an empty slice": (
        lambda sound: sound._replace(slices={"item_frequency": slice_table(0.0)}),
        True,
        "slices by item_frequency",
    ),
    "a slice not finite": (
        lambda sound: sound._replace(slices={"item_frequency": slice_table(math.nan)}),
        True,
        "slices by item_frequency",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_gate_fails_on(fault: str) -> None:
    plant, champion, clause = FAULTS[fault]
    decision = judged(plant(evidence(champion)))
    assert not decision.passed
    assert clause in {failed.name for failed in decision.clauses if not failed.passed}, decision


def test_the_first_champion_needs_no_certainty_and_its_record_shows_that() -> None:
    """One user in a hundred ranked better than by SASRec: above it, and within noise."""
    sound = evidence(False)
    better = sound.baselines["sasrec"].copy()
    better[::100] = 1
    decision = judged(sound._replace(challenger=better))
    (clause,) = [clause for clause in decision.clauses if clause.name == "against sasrec"]
    assert decision.passed
    assert clause.observed > 0
    assert "95 % from" in clause.detail


def test_every_clause_catches_a_fault() -> None:
    caught = dict.fromkeys(CLAUSES, 0)
    for plant, champion, _ in FAULTS.values():
        for name, judge in CLAUSES.items():
            caught[name] += any(not clause.passed for clause in judge(plant(evidence(champion)), LIMITS, SEED))
    assert all(caught.values()), caught


def test_an_equal_challenger_is_not_inferior() -> None:
    sound = evidence(champion=True)
    assert judged(sound._replace(challenger=sound.champion)).passed


def test_users_who_all_gain_pass_whatever_the_noise() -> None:
    sound = evidence(champion=True)
    assert sound.champion is not None
    assert judged(sound._replace(challenger=np.maximum(sound.champion // 2, 1))).passed


def test_nothing_against_a_champion_that_knows_nothing() -> None:
    sound = evidence(champion=True)._replace(champion=np.full(USERS, ITEMS, dtype=np.int64))
    assert judged(sound).passed


def test_a_catalog_smaller_than_the_codebook_may_leave_codes_unused() -> None:
    small = {"text": {**healthy(), "code_use": 3 / 256}}
    sound = evidence(champion=True)._replace(tokenizer=small, n_items=ITEMS)
    assert not judged(sound).passed
    three = sound._replace(n_items=3, **{n: np.minimum(getattr(sound, n), 3) for n in ("challenger", "champion")})
    three = three._replace(baselines={name: np.minimum(b, 3) for name, b in sound.baselines.items()})
    assert not [clause for clause in judged(three).clauses if "code use" in clause.name and not clause.passed]


def test_an_empty_slice_says_nothing_where_baselines_get_nothing_either() -> None:
    cold = [{"bucket": "0", "users": 200, "mme_sid": 0.0, "sasrec": 0.0, "popularity": 0.0}]
    assert judged(evidence(champion=True)._replace(slices={"item_frequency": cold})).passed


@pytest.mark.parametrize(("users", "passes"), [(60, True), (600, False)])
def test_an_empty_slice_counts_where_luck_does_not_explain_it(users: int, passes: bool) -> None:
    """The baseline gains .01 a user: .6 in all among 60 users, 6 among 600; three are within luck (rule of three)."""
    rare = [{"bucket": "1-4", "users": users, "mme_sid": 0.0, "sasrec": 0.01, "popularity": 0.0}]
    assert judged(evidence(champion=True)._replace(slices={"item_frequency": rare})).passed == passes


def test_every_baseline_of_the_tables_is_demanded() -> None:
    for name in BASELINES:
        others = {other: ranks(0.1, 1) for other in BASELINES if other != name}
        decision = judged(evidence(champion=True)._replace(baselines=others))
        (clause,) = [clause for clause in decision.clauses if clause.name == "ranks valid"]
        assert clause.detail == f"invalid: none; missing: {name}"


@pytest.mark.parametrize("limit", Gate.model_fields)
def test_every_limit_takes_part_in_the_decision(limit: str) -> None:
    """Without that, a person who sets it would get what they had before."""
    rare = [{"bucket": "1-4", "users": 60, "mme_sid": 0.0, "sasrec": 0.01, "popularity": 0.0}]
    close = evidence(champion=True)._replace(slices={"item_frequency": rare})
    other = 500 if limit == "resamples" else getattr(LIMITS, limit) / 10
    assert judged(close, **{limit: other}) != judged(close)


def test_a_record_survives_json_and_names_every_number() -> None:
    clauses = judged(evidence(champion=True)).clauses
    record = Record("sample", "promotion", "3", "2", True, "2030-01-01 00:00:00.000", clauses)
    assert from_json(json.loads(to_json(record))) == record
    text = describe(record)
    assert all(clause.name in text and clause.detail in text for clause in clauses)


def test_a_record_of_before_clauses_could_be_volatile_is_read() -> None:
    clauses = [Clause("enough users", True, 40, 30, "40 users of the gate")]
    record = Record("sample", "promotion", "3", "2", True, "2030-01-01 00:00:00.000", clauses)
    old = json.loads(to_json(record))
    for clause in old["clauses"]:
        del clause["volatile"]
    assert from_json(old) == record


def test_a_decision_that_was_there_before_says_so() -> None:
    record = Record("toys", "promotion", "3", "1", True, "2030-01-02 03:04:05.678", [])
    assert "(champion is version 1; 2030-01-02 03:04:05.678)" in describe(record, "2030-01-02 03:04:05.677")
    assert "2030-01-02 03:04:05.678, before this was asked" in describe(record, "2031-01-01 00:00:00.000")
