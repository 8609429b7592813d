"""Decisions as people read them, and as they are stored: JSON beside the model, every number included."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from mmesid.registry.gate import Clause

BY_HAND = "by hand"  # somebody moved the alias `champion` in MLflow


class Record(NamedTuple):
    """One decision on a dataset's champion."""

    dataset: str
    kind: str  # promotion, rollback or, of a record that is never stored, BY_HAND
    version: str  # to become champion
    champion: str | None  # version that was champion before
    passed: bool
    decided: str  # time, UTC
    clauses: list[Clause]


def moment() -> str:
    """The current time in the format of a record; later times are greater strings."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def to_json(record: Record) -> str:
    """Stable JSON text."""
    plain = {**record._asdict(), "clauses": [clause._asdict() for clause in record.clauses]}
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def from_json(value: Mapping[str, Any]) -> Record:
    """The inverse of `to_json`, after json.loads."""
    return Record(**{**value, "clauses": [Clause(**clause) for clause in value["clauses"]]})


def describe(record: Record, asked: str = "") -> str:
    """A heading and a table of the clauses, in Markdown.

    Args:
        record: the decision.
        asked: `moment` of the request; an older decision is marked as such.
    """
    against = f"champion is version {record.champion}" if record.champion else "there is no champion"
    decided = f"{record.decided}, before this was asked" if record.decided < asked else record.decided
    outcome = {
        ("promotion", True): f"version {record.version} becomes champion",
        ("promotion", False): f"version {record.version} stays challenger",
        ("rollback", True): f"version {record.version} is champion again",
        (BY_HAND, True): f"version {record.version} was made champion by hand, and no decision of the gate is recorded",
    }[record.kind, record.passed]
    lines = [f"**{record.dataset}: {outcome}** ({against}; {decided})"]
    if record.clauses:
        lines += ["", "| clause | holds | observed | limit | detail |", "|---|---|---|---|---|"]
    for clause in record.clauses:
        observed = "not finite" if clause.observed is None else f"{clause.observed:.4g}"
        holds = "yes" if clause.passed else "**no**"
        lines.append(f"| {clause.name} | {holds} | {observed} | {clause.limit:.4g} | {clause.detail} |")
    return "\n".join(lines)
