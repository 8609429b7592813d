"""The data gate: what a catalogue must be like, judged by Great Expectations.

`rules` says what is expected, with its limit; Great Expectations decides whether it holds and counts; `checks` says
which rows are to blame.
"""

from collections import Counter
from typing import Any, Literal, NamedTuple

import pandas as pd

from mmesid.artifacts.values import Catalogue
from mmesid.config import Validate
from mmesid.data import checks
from mmesid.data.joins import explain_join
from mmesid.data.rules import Rule, rules
from mmesid.data.variants import explain_variants

EXAMPLES = 5
_SEARCHED = 10_000  # rejects among which examples are chosen
_REJECTS = {
    "expectation": "str",
    "table": "str",
    "file": "str",
    "row": "int64",
    "column": "str",
    "value": "str",
    "reason": "str",
    "tolerated": "bool",
}


class ExpectationResult(NamedTuple):
    """One expectation, judged.

    kind `share`: `failed` of `checked` rows do not hold, at most a share of `limit` may.
    kind `count`: `checked` rows are there, `limit` are needed, `failed` are lacking; `share` is failed / limit.
    """

    name: str
    table: str
    column: str
    description: str
    kind: Literal["share", "count"]
    passed: bool
    checked: int
    failed: int
    share: float
    limit: float
    key: str | None  # the parameter that holds the limit; None where nothing is tolerated
    examples: list[dict[str, Any]]  # file, row, column, value, reason


class Verdict(NamedTuple):
    """What the gate says about a catalogue.

    rejects: expectation, table, file, row, column, value, reason, tolerated; one row per fault. An expectation with a
        limit of 1 cannot fail: it counts and shows examples, but rejects no row.
    """

    passed: bool
    expectations: list[ExpectationResult]
    rejects: pd.DataFrame
    summary: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The verdict without the rejects, ready for JSON; equal catalogues give equal values."""
        return {
            "passed": self.passed,
            "summary": self.summary,
            "expectations": [result._asdict() for result in self.expectations],
        }


def judge(catalogue: Catalogue, settings: Validate) -> Verdict:
    """Judge a catalogue by the limits in `settings`.

    Args:
        catalogue: a source in canonical form, nothing filtered.
        settings: the section `validate` of the parameters.

    Returns:
        The verdict. Rows are to be read as positions in the source's files, from 1.
    """
    frames = checks.frames(catalogue, settings.min_image_side)
    expected = rules(frames, settings)
    judged = _evaluate(frames, expected)
    results, rejects = [], []
    for rule in expected:
        wrong = _wrong_rows(rule, frames[rule.table])
        result = _result(rule, judged[rule.name], wrong)
        results.append(result)
        if rule.limit != 1 and len(wrong):
            rejects.append(wrong.assign(expectation=rule.name, tolerated=result.passed)[list(_REJECTS)])
    rejected = pd.concat(rejects or [pd.DataFrame(columns=list(_REJECTS))], ignore_index=True).astype(_REJECTS)
    passed = all(result.passed for result in results)
    return Verdict(passed, results, rejected, _summary(catalogue, frames, len(rejected)))


def _evaluate(frames: dict[str, pd.DataFrame], expected: list[Rule]) -> dict[str, Any]:
    """Great Expectations' own result of each rule, by the rule's name."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("catalogue").add_dataframe_asset("table")
    whole = asset.add_batch_definition_whole_dataframe("whole")
    results: dict[str, Any] = {}
    for table, frame in frames.items():
        asked = [rule for rule in expected if rule.table == table]
        suite = gx.ExpectationSuite(
            name=table,
            expectations=[
                getattr(gx.expectations, rule.expectation)(**rule.arguments, meta={"name": rule.name}) for rule in asked
            ],
        )
        # only the columns that are judged: the frame is copied and hashed
        judged = frame[list(dict.fromkeys(rule.arguments["column"] for rule in asked if "column" in rule.arguments))]
        outcome = whole.get_batch({"dataframe": judged}).validate(suite, result_format="SUMMARY")
        results |= {result.expectation_config.meta["name"]: result for result in outcome.results}
    return results


def _wrong_rows(rule: Rule, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that break the rule; only as many as examples need where any number is tolerated."""
    reasons = rule.reasons if rule.limit != 1 else rule.reasons[:EXAMPLES]
    return checks.rejects(frame, rule.table, rule.column, reasons) if len(reasons) else pd.DataFrame()


def _result(rule: Rule, judged: Any, wrong: pd.DataFrame) -> ExpectationResult:
    facts = judged.result
    if not facts:  # an error inside the expectation is ours, never the catalogue's
        raise RuntimeError(f"{rule.name} could not be judged: {judged.exception_info}")
    if rule.kind == "count":
        checked = int(facts["observed_value"])
        failed = max(0, int(rule.limit) - checked)
        share = failed / rule.limit
    else:
        checked = int(facts["element_count"] - facts.get("missing_count", 0))
        failed = int(facts["unexpected_count"])
        share = failed / checked if checked else 0.0
    return ExpectationResult(
        name=rule.name,
        table=rule.table,
        column=rule.column,
        description=rule.description,
        kind=rule.kind,
        passed=bool(judged.success),
        checked=checked,
        failed=failed,
        share=share,
        limit=rule.limit,
        key=rule.key,
        examples=_examples(wrong) if len(wrong) else [],
    )


def _examples(wrong: pd.DataFrame) -> list[dict[str, Any]]:
    """A few rejects, one of each kind of reason first; the kind stands before the colon."""
    near = wrong[:_SEARCHED].reset_index(drop=True)
    kinds = near["reason"].map(_kind)
    chosen = near.loc[near.groupby(kinds, sort=False).cumcount().sort_values(kind="stable").index[:EXAMPLES]]
    shown = ("file", "row", "column", "value", "reason")
    return [dict(zip(shown, values, strict=True)) for values in zip(*(chosen[c].tolist() for c in shown), strict=True)]


def _kind(reason: str) -> str:
    return reason.partition(":")[0]


def _summary(catalogue: Catalogue, frames: dict[str, pd.DataFrame], rejected: int) -> dict[str, Any]:
    users, items = len(frames["users"]), len(frames["items"])
    faults = frames["pictures"]["fault"]
    whole = frames["interactions"]["item_is_known"].all()
    join = None if whole else explain_join(catalogue.interactions["item_id"], catalogue.items["item_id"])
    variants = None if frames["items"]["rows_agree"].all() else explain_variants(catalogue.items)
    return {
        "users": users,
        "items": items,
        "interactions": len(frames["interactions"]),
        "ties": int(frames["interactions"]["is_tied"].sum()),
        "rejects": rejected,
        "items_with": {
            "text": int(frames["items"]["has_text"].sum()),
            "image": int(faults.isna().sum()),
            **{f"{m} embedding": int(frames["items"][f"has_{m}_embedding"].sum()) for m in catalogue.embeddings},
        },
        "embedding_width": {m: int(embedding.matrix.shape[1]) for m, embedding in catalogue.embeddings.items()},
        "broken_pictures": dict(Counter(_kind(fault) for fault in faults.dropna())),
        "notes": [*catalogue.notes, *filter(None, (join, variants))],
    }
