"""The gate passes a sound challenger and fails on each planted fault."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mmesid.registry.gate import CLAUSES, Evidence, Limits, decide
from mmesid.registry.records import Record, describe, from_json, to_json

USERS, ITEMS = 600, 1000


def ranks(skill: float, seed: int = 0, users: int = USERS) -> NDArray[np.int64]:
    """Ranks of a model that places the target first with probability `skill`, else anywhere."""
    draw = np.random.default_rng(seed)
    lucky = draw.random(users) < skill
    return np.where(lucky, 1, draw.integers(1, ITEMS + 1, users)).astype(np.int64)


def slice_table(mme_sid: float = 0.2) -> list[dict[str, object]]:
    return [{"bucket": "5-19", "users": 200, "mme_sid": mme_sid, "sasrec": 0.1, "popularity": 0.0}]


def healthy() -> dict[str, float | list[float]]:
    return {"collision_rate": 0.05, "identical": 0.01, "code_use": 0.9, "code_use_by_level": [0.9, 0.9], "loss": 0.1}


def evidence(champion: bool) -> Evidence:
    return Evidence(
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
    decision = decide(evidence(champion))
    assert decision.passed, decision
    assert all(clause.passed for clause in decision.clauses)


def worse(found: Evidence) -> Evidence:
    return found._replace(challenger=ranks(0.1))


def broken(name: str, value: float) -> Callable[[Evidence], Evidence]:
    return lambda found: found._replace(tokenizer={**found.tokenizer, "image": {**healthy(), name: value}})


FAULTS: dict[str, tuple[Callable[[Evidence], Evidence], bool, str]] = {
    "worse than the champion": (worse, True, "against champion"),
    "a little worse than the champion": (
        lambda found: found._replace(challenger=np.where(np.arange(USERS) % 20 == 0, ITEMS, found.champion)),
        True,
        "against champion",
    ),
    "below sasrec": (worse, False, "against sasrec"),
    "equal to sasrec": (lambda found: found._replace(challenger=found.baselines["sasrec"]), False, "against sasrec"),
    "equal to popularity": (
        lambda found: found._replace(baselines={**found.baselines, "popularity": found.challenger}),
        False,
        "against popularity",
    ),
    "a baseline missing": (
        lambda found: found._replace(baselines={"sasrec": found.baselines["sasrec"]}),
        False,
        "ranks possible",
    ),
    "a rank of zero": (lambda found: found._replace(challenger=found.challenger - 1), True, "ranks possible"),
    "a rank beyond the catalogue": (
        lambda found: found._replace(challenger=found.challenger + ITEMS),
        True,
        "ranks possible",
    ),
    "champion ranked on other users": (
        lambda found: found._replace(champion=ranks(0.3, 3, 10)),
        True,
        "ranks possible",
    ),
    "a handful of users": (
        lambda found: found._replace(
            challenger=ranks(0.9, 0, 5), baselines={n: ranks(0.1, 1, 5) for n in found.baselines}
        ),
        False,
        "enough users",
    ),
    "no users": (
        lambda found: found._replace(
            challenger=ranks(0.9, 0, 0), baselines={n: ranks(0.1, 1, 0) for n in found.baselines}
        ),
        False,
        "enough users",
    ),
    "diagnostics not finite": (broken("loss", math.nan), True, "image diagnostics finite"),
    "collisions": (broken("collision_rate", 0.8), True, "image collisions"),
    "collisions not finite": (broken("collision_rate", math.nan), True, "image collisions"),
    "codes unused": (broken("code_use", 0.01), True, "image code use"),
    "a dead slice": (
        lambda found: found._replace(slices={"item_frequency": slice_table(0.0)}),
        True,
        "slices by item_frequency",
    ),
    "a slice not finite": (
        lambda found: found._replace(slices={"item_frequency": slice_table(math.nan)}),
        True,
        "slices by item_frequency",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_gate_fails_on(fault: str) -> None:
    plant, champion, clause = FAULTS[fault]
    decision = decide(plant(evidence(champion)))
    assert not decision.passed
    assert clause in {found.name for found in decision.clauses if not found.passed}, decision


def test_the_first_champion_needs_no_certainty_and_its_record_shows_that() -> None:
    """One user in a hundred ranked better than by SASRec: above it, and within noise."""
    found = evidence(False)
    better = found.baselines["sasrec"].copy()
    better[::100] = 1
    decision = decide(found._replace(challenger=better))
    (clause,) = [clause for clause in decision.clauses if clause.name == "against sasrec"]
    assert decision.passed
    assert clause.observed > 0
    assert "95 % from" in clause.detail


def test_every_clause_catches_a_fault() -> None:
    caught = dict.fromkeys(CLAUSES, 0)
    for plant, champion, _ in FAULTS.values():
        for name, judge in CLAUSES.items():
            caught[name] += any(not clause.passed for clause in judge(plant(evidence(champion)), Limits()))
    assert all(caught.values()), caught


def test_an_equal_challenger_is_not_inferior() -> None:
    found = evidence(champion=True)
    assert decide(found._replace(challenger=found.champion)).passed


def test_users_who_all_gain_pass_whatever_the_noise() -> None:
    found = evidence(champion=True)
    assert found.champion is not None
    assert decide(found._replace(challenger=np.maximum(found.champion // 2, 1))).passed


def test_nothing_against_a_champion_that_knows_nothing() -> None:
    found = evidence(champion=True)._replace(champion=np.full(USERS, ITEMS, dtype=np.int64))
    assert decide(found).passed


def test_a_catalogue_smaller_than_the_codebook_may_leave_codes_unused() -> None:
    small = {"text": {**healthy(), "code_use": 3 / 256}}
    found = evidence(champion=True)._replace(tokenizer=small, n_items=ITEMS)
    assert not decide(found).passed
    three = found._replace(n_items=3, **{n: np.minimum(getattr(found, n), 3) for n in ("challenger", "champion")})
    three = three._replace(baselines={name: np.minimum(b, 3) for name, b in found.baselines.items()})
    assert not [clause for clause in decide(three).clauses if "code use" in clause.name and not clause.passed]


def test_an_empty_slice_says_nothing_where_baselines_get_nothing_either() -> None:
    cold = [{"bucket": "0", "users": 200, "mme_sid": 0.0, "sasrec": 0.0, "popularity": 0.0}]
    assert decide(evidence(champion=True)._replace(slices={"item_frequency": cold})).passed


@pytest.mark.parametrize(("users", "passes"), [(60, True), (600, False)])
def test_an_empty_slice_counts_where_luck_does_not_explain_it(users: int, passes: bool) -> None:
    """The baseline gains .01 a user: .6 in all among 60 users, 6 among 600; three are within luck (rule of three)."""
    rare = [{"bucket": "1-4", "users": users, "mme_sid": 0.0, "sasrec": 0.01, "popularity": 0.0}]
    assert decide(evidence(champion=True)._replace(slices={"item_frequency": rare})).passed == passes


def test_a_record_survives_json_and_names_every_number() -> None:
    clauses = decide(evidence(champion=True)).clauses
    record = Record("sample", "promotion", "3", "2", True, "2030-01-01 00:00:00.000", clauses)
    assert from_json(json.loads(to_json(record))) == record
    text = describe(record)
    assert all(clause.name in text and clause.detail in text for clause in clauses)


def test_a_decision_that_was_there_before_says_so() -> None:
    record = Record("toys", "promotion", "3", "1", True, "2030-01-02 03:04:05.678", [])
    assert "(champion is version 1; 2030-01-02 03:04:05.678)" in describe(record, "2030-01-02 03:04:05.677")
    assert "2030-01-02 03:04:05.678, before this was asked" in describe(record, "2031-01-01 00:00:00.000")
