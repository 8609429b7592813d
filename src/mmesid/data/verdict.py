"""What the stage `validate` will say of a catalogue, without Great Expectations, whose import takes many seconds.

The rules and the facts are the gate's own (`rules`, `checks`); only the counting is done here, in pandas. A test holds
both judges against each other.
"""

import math
from typing import NamedTuple

import pandas as pd

from mmesid.artifacts.values import Catalogue
from mmesid.config import Validate
from mmesid.data import checks
from mmesid.data.rules import Rule, rules
from mmesid.data.variants import explain_variants

VARIANTS = "items.rows_agree"
# What a limit does not say about the rows that it lets pass.
REMARKS = {
    "max_missing_ids": "; `prepare` leaves these rows out",
    "max_duplicates": "; prepare.repeats then says whether they are dropped or kept",
    "max_duplicate_items": "; the first of equal rows is kept",
}


class Refusal(NamedTuple):
    """A rule that does not hold."""

    name: str  # of the rule
    table: str
    description: str  # what was expected
    kind: str  # share or count, as of `rules.Rule`
    checked: int  # rows that were judged; of a count: the rows that are there
    failed: int  # of them; of a count: the rows that are lacking
    example: str  # file, row and value of the first row to blame; empty where none is
    allowed_by: str  # `validate.max_duplicates: 0.02`, what would let it pass; empty where nothing does
    instead: str = ""  # what else may be done

    def __str__(self) -> str:
        found = f"{self.failed:,} of {self.checked:,} {self.table} do not hold"
        if self.kind == "count":
            found = f"there are {self.checked:,}"
        first = f"; first {self.example}" if self.example else ""
        way = f"mend the source, or set {self.allowed_by}" if self.allowed_by else "mend the source"
        return f"{self.description}: {found}{first}; {way}{f'; {self.instead}' if self.instead else ''}"


def refusals(catalogue: Catalogue, settings: Validate) -> list[Refusal]:
    """The rules that do not hold, in the order of the gate's report.

    Args:
        catalogue: a source in canonical form, nothing filtered.
        settings: the section `validate` of the parameters.
    """
    frames = checks.frames(catalogue, settings.min_image_side)
    found = []
    for rule in rules(frames, settings):
        frame = frames[rule.table]
        checked, failed = _count(rule, frame)
        if not _holds(rule, checked, failed):
            found.append(
                Refusal(
                    *(rule.name, rule.table, rule.description, rule.kind, checked, failed),
                    _example(rule, frame),
                    _allowed_by(rule, checked, failed, frame),
                    (explain_variants(catalogue.items) or "") if rule.name == VARIANTS else "",
                )
            )
    return found


def _count(rule: Rule, frame: pd.DataFrame) -> tuple[int, int]:
    """Rows judged and rows that fail, as Great Expectations counts them: nulls are judged by their own rules only."""
    if rule.kind == "count":
        condition = rule.arguments.get("row_condition")
        checked = len(frame.query(condition)) if condition else len(frame)
        return checked, max(0, int(rule.limit) - checked)
    if rule.expectation in ("ExpectColumnValuesToNotBeNull", "ExpectColumnValuesToBeNull"):
        return len(frame), len(rule.reasons)
    return int(frame[rule.arguments["column"]].notna().sum()), len(rule.reasons)


def _holds(rule: Rule, checked: int, failed: int) -> bool:
    if rule.kind == "count":
        return failed == 0
    return checked == 0 or bool((checked - failed) / checked >= rule.arguments["mostly"])


def _example(rule: Rule, frame: pd.DataFrame) -> str:
    if not len(rule.reasons):
        return ""
    (first,) = checks.rejects(frame, rule.table, rule.column, rule.reasons[:1]).itertuples()
    return f"{first.file} row {first.row}: {first.value} ({first.reason})"


def _allowed_by(rule: Rule, checked: int, failed: int, frame: pd.DataFrame) -> str:
    """The key with the nearest value that lets the rule hold."""
    if rule.key is None or (rule.kind == "count" and not checked):
        return ""
    if rule.kind == "count":
        return f"validate.{rule.key}: {checked}"
    if "max_value" in rule.arguments:  # a length, of which none may be too long
        return f"validate.{rule.key}: {int(frame[rule.column].astype(str).str.len().max())}"
    return f"validate.{rule.key}: {_rounded_up(failed / checked)}{REMARKS.get(rule.key, '')}"


def _rounded_up(share: float) -> float:
    """To two digits that differ from zero: 0.0123 becomes 0.013."""
    digits = 1 - math.floor(math.log10(share))
    scale = 10.0**digits
    return min(1.0, round(math.ceil(round(share * scale, 6)) / scale, digits))
