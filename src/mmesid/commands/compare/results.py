"""What is compared: each run's metrics, parameters and cost, and its differences to the reference, user by user."""

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmesid import tracking
from mmesid.artifacts.files import load_frame, load_json
from mmesid.commands.compare.runs import Judged, name_of, test_metrics
from mmesid.commands.plan import NO_STAGES
from mmesid.errors import ArtifactError
from mmesid.evaluation.metrics import per_user
from mmesid.evaluation.statistics import paired_bootstrap
from mmesid.models import MAIN_MODEL, RANK_METRICS, TESTED_METRICS
from mmesid.reporting.comparison import Difference, Result
from mmesid.reporting.tables import part
from mmesid.tracking import Recorded

RESAMPLES, SEED = 1000, 0  # of the bootstrap
SAME = "popularity"  # ranks every target alike in two runs exactly where users, targets and candidates are the same

NO_FILE = "no metrics.json is kept, so there are no intervals"
NO_RANKS = "ranks of single users are not kept on both sides, so differences are not tested"
OTHER_USERS = "other users, targets or candidates than the reference's, so differences are not tested"


def collect(runs: Sequence[Judged], base: Judged | None, records: Sequence[Recorded], root: Path) -> list[Result]:
    """Every run once, the reference first.

    Args:
        runs: of one dataset, newest first.
        base: the reference; None where the dataset has none.
        records: every run of the dataset, newest first.
        root: the project's folder.
    """
    ordered = [*([base] if base else []), *(run for run in runs if base is None or run.record != base.record)]
    with tempfile.TemporaryDirectory() as folder:
        evidence = [Evidence(run, Path(folder), root) for run in ordered]
    return [_result(run, records, evidence[0] if base else None) for run in evidence]


class Evidence:
    """A judged run's metrics and, where they are kept, the ranks of its test users."""

    def __init__(self, judged: Judged, folder: Path, root: Path) -> None:
        self.judged = judged
        self.metrics, self.remark = _metrics(judged.record, folder, root)
        self.ranks = _ranks(judged.record, folder, root)


def _metrics(run: Recorded, folder: Path, root: Path) -> tuple[dict[str, Any], str]:
    path = tracking.artifact(run.run_id, "metrics.json", folder, root)
    if path is not None:
        try:
            return dict(load_json(path)), ""
        except ArtifactError:
            pass
    return {"test": {MAIN_MODEL: test_metrics(run)}}, NO_FILE


def _ranks(run: Recorded, folder: Path, root: Path) -> dict[str, NDArray[np.int64]]:
    """Ranks of the test users by model, (B,); empty where they are not kept."""
    path = tracking.artifact(run.run_id, "ranks.parquet", folder, root)
    if path is None:
        return {}
    frame = load_frame(path)
    test = frame[frame["split"] == "test"].sort_values("user")
    return {str(model): rows["rank"].to_numpy(np.int64) for model, rows in test.groupby("model")}


def _result(evidence: Evidence, records: Sequence[Recorded], base: Evidence | None) -> Result:
    run = evidence.judged.record
    differences, remark = ({}, "") if base is None or evidence is base else differ(evidence, base)
    moment = datetime.fromtimestamp(run.started / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    return Result(
        dataset=run.dataset,
        run=name_of(run),
        roles=evidence.judged.roles,
        run_id=run.run_id,
        started=moment,
        metrics=evidence.metrics,
        parameters=_parameters(run, records),
        seconds=_seconds(run, records),
        is_reference=evidence is base,
        differences=differences,
        remark="; ".join(filter(None, [evidence.remark, remark])),
    )


def differ(evidence: Evidence, base: Evidence) -> tuple[dict[str, Difference], str]:
    """Differences in every metric; tested user by user where both ranked the same users.

    Returns:
        Differences by metric, and why they are not tested.
    """
    mine, theirs = (part(part(each.metrics, "test"), MAIN_MODEL) for each in (evidence, base))
    differences = {
        name: Difference(mine[name] - theirs[name]) for name in RANK_METRICS if name in mine and name in theirs
    }
    if not all({MAIN_MODEL, SAME} <= set(each.ranks) for each in (evidence, base)):
        return differences, NO_RANKS
    if not np.array_equal(evidence.ranks[SAME], base.ranks[SAME]):
        return differences, OTHER_USERS
    values, others = (per_user(each.ranks[MAIN_MODEL], TESTED_METRICS) for each in (evidence, base))
    tested = {name: paired_bootstrap(values[name], others[name], RESAMPLES, SEED) for name in TESTED_METRICS}
    return differences | {name: Difference(*pair) for name, pair in tested.items()}, ""


def _parameters(run: Recorded, records: Sequence[Recorded]) -> dict[str, str]:
    """Of all stages, from the run of the execution; runs of older versions keep them with each stage alone."""
    same = _same_execution(run, records)
    whole = next((dict(each.params) for each in same if each.stage == "pipeline"), {})
    single = {f"{each.stage}.{key}": value for each in reversed(same) for key, value in each.params.items()}
    made_from = {"git commit": run.commit[:10], "catalogue": run.catalogue[:10]}
    return (whole or single) | {key: value for key, value in made_from.items() if value}


def _seconds(run: Recorded, records: Sequence[Recorded]) -> dict[str, float]:
    """Of each stage that the execution ran to its end, in order; the last attempt counts."""
    seconds = {}
    for record in reversed(_same_execution(run, records)):
        if record.status == "FINISHED" and record.seconds and record.stage not in NO_STAGES:
            seconds[record.stage] = record.seconds
    return seconds


def _same_execution(run: Recorded, records: Sequence[Recorded]) -> list[Recorded]:
    return [record for record in records if run.execution and record.execution == run.execution]
