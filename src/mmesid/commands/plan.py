"""`mmesid plan`: what `dvc repro` would do, stage by stage, why, and about how long and how large.

Times and sizes are those of the last recorded run; where there is none, the plan says so. Nothing is run or changed.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mmesid import config as configuration
from mmesid import tracking
from mmesid.commands.screen import duration, size
from mmesid.config import check_datasets
from mmesid.errors import TrackingError
from mmesid.pipeline import graph as pipeline
from mmesid.pipeline.graph import Change, Stage

UP_TO_DATE, RESTORE, RUN, FOLLOW, RUNNING = "up to date", "restore", "run", "may run", "running"
MEANING = {  # how each state is printed
    UP_TO_DATE: "up to date",
    RESTORE: "restored from DVC's cache",
    RUN: "would run",
    FOLLOW: "may run",
    RUNNING: "runs now",
}
CODE = "src/mmesid/"  # where a stage's code lies
NO_STAGES = ("pipeline", "register")  # runs in MLflow of a whole execution and of the registry
SHOWN = 4  # reasons of a stage that the table shows, and files of its code that are named


class Planned(NamedTuple):
    """One stage; a stage that may run does so if what stands above it changes its output."""

    stage: str
    state: str
    reasons: list[str]
    seconds: float | None  # of its newest finished run; None: no record
    bytes: int | None  # of its outputs at their last run; None: no record


class Plan(NamedTuple):
    """Every stage in order, and a remark where records could not be asked for."""

    stages: list[Planned]
    note: str = ""

    @property
    def work(self) -> list[Planned]:
        """The stages that would or may run."""
        return [stage for stage in self.stages if stage.state in (RUN, FOLLOW)]


def plan(datasets: Sequence[str] | None = None, root: Path = Path()) -> Plan:
    """What `dvc repro` would do now.

    Args:
        datasets: which ones; all of `dvc.yaml` by default. Stages that belong to no single one are always planned.
        root: the project's folder.

    Raises:
        ConfigError: a dataset is not in `dvc.yaml`, or its parameters are wrong.
        PipelineError: DVC cannot read the pipeline.
    """
    stages = {stage.name: stage for stage in pipeline.read(root)}
    graph = {name: stage.upstream for name, stage in stages.items()}
    known = pipeline.known_datasets(graph)
    chosen = list(datasets) if datasets else known
    check_datasets(chosen, known)
    seconds, note = durations(chosen, root)
    for name in chosen:
        if f"configure@{name}" in stages:
            configuration.load(name, root)  # raises where it is wrong: nothing could run then
    named = sorted(pipeline.select(graph, chosen), key=lambda name: name.partition("@")[2] or "~")  # report is last
    return Plan(decide([stages[name] for name in named], seconds), note)


def durations(datasets: Iterable[str], root: Path = Path()) -> tuple[dict[str, float], str]:
    """Seconds of the newest finished run of each stage, and a remark where MLflow does not answer.

    An execution as a whole is none of them: where several datasets share it, it lasts as long as all of theirs.
    """
    try:
        runs = tracking.recorded(datasets, root)
    except TrackingError as error:
        return {}, f"no durations: {error}"
    found: dict[str, float] = {}
    for run in runs:  # newest first
        if run.status == "FINISHED" and run.seconds is not None and run.stage not in NO_STAGES:
            found.setdefault(f"{run.stage}@{run.dataset}", run.seconds)
    return found, ""


def decide(stages: Sequence[Stage], seconds: dict[str, float]) -> list[Planned]:
    """The state of each stage, in the order given: one that stands after a stage that runs may have to run too."""
    upstream = {stage.name: stage.upstream for stage in stages}
    runs: set[str] = set()
    renewed: set[str] = set()  # their outputs come back or anew: what differs there is no reason of its own
    planned = []
    for stage in stages:
        above = [name for name in stage.upstream if name in runs and pipeline.is_reason(name, stage.name)]
        own = [change for change in stage.changes if not renewed & set(change.producers)]
        state = _state(stage, own, above)
        if state in (RUN, FOLLOW, RUNNING):
            runs.add(stage.name)
        if state != UP_TO_DATE:
            renewed.add(stage.name)
        nearest = [name for name in above if not any(name in upstream[other] for other in above)]
        reasons = list(dict.fromkeys(_reasons(own))) + ([f"after {', '.join(nearest)}"] if above else [])
        planned.append(Planned(stage.name, state, reasons, seconds.get(stage.name), stage.size))
    return planned


def _state(stage: Stage, own: list[Change], above: list[str]) -> str:
    if any(change.kind == pipeline.RUNNING for change in own):
        return RUNNING
    if above and all(change.kind == pipeline.OUTPUT for change in own):
        return FOLLOW
    if stage.restorable:
        return RESTORE
    return RUN if own else UP_TO_DATE


def _reasons(changes: list[Change]) -> list[str]:
    """A line for each change; all code together is one."""
    code = [change for change in changes if change.kind == pipeline.DEPENDENCY and change.name.startswith(CODE)]
    lines = [_reason(change) for change in changes if change not in code]
    if code:
        files = [change.name.removeprefix(CODE) for change in code]
        more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
        lines.append(f"its code: {', '.join(files[:SHOWN])}{more}")
    return lines


def _reason(change: Change) -> str:
    if change.kind == pipeline.NEVER_RAN:
        return "never ran"
    if change.kind == pipeline.RUNNING:
        return "another process runs it"
    if change.kind == pipeline.COMMAND:
        return f"its command is now `{change.name}`"
    if change.kind == pipeline.PARAMETER:
        return f"{change.name}: {change.detail}"
    if change.kind == pipeline.OUTPUT:
        return f"its output is {change.detail}"
    return f"{change.name} is {change.detail}"


def table(plan: Plan) -> tuple[str, list[str], list[list[str]]]:
    """The plan as a table without title, its heads and its rows."""
    heads = ["stage, and why", "", "about", "size"]
    rows = []
    for stage in plan.stages:
        cost = [duration(stage.seconds), size(stage.bytes)] if stage in plan.work else ["", ""]
        rows.append(["\n  ".join([stage.stage, *_brief(stage.reasons)]), MEANING[stage.state], *cost])
    return "", heads, rows


def _brief(reasons: list[str]) -> list[str]:
    more = [f"and {len(reasons) - SHOWN} more"] if len(reasons) > SHOWN else []
    return [*reasons[:SHOWN], *more]


def summary(plan: Plan) -> str:
    """The totals in one or two sentences, and the remark."""
    if not plan.work:
        idle = all(stage.state == UP_TO_DATE for stage in plan.stages)
        text = "everything is up to date" if idle else "no stage would run"
    else:
        time = _at_most([stage.seconds for stage in plan.work], duration, "time")
        space = _at_most([stage.bytes for stage in plan.work], size, "size")
        text = (
            f"{len(plan.work)} of {len(plan.stages)} stages would run or may run; {time}, {space}. "
            "A stage whose inputs DVC has seen before takes seconds."
        )
    return "\n".join(filter(None, [text, plan.note]))


def _at_most(values: Sequence[float | None], shown: Callable[[float | None], str], what: str) -> str:
    unknown = sum(value is None for value in values)
    if unknown == len(values):
        return f"no record of their {what}"
    known = f"about {shown(_total(values))}"
    return f"{known} without the {unknown} that have no record of their {what}" if unknown else f"{known} at most"


def to_json(plan: Plan) -> str:
    """The plan as JSON; null means that there is no record."""
    work = plan.work
    value = {
        "stages": [stage._asdict() for stage in plan.stages],
        "total": {
            "stages": len(work),
            "seconds": _total([stage.seconds for stage in work]),
            "bytes": _total([stage.bytes for stage in work]),
            "without_seconds": sum(stage.seconds is None for stage in work),
            "without_bytes": sum(stage.bytes is None for stage in work),
        },
        "note": plan.note,
    }
    return json.dumps(value, indent=2, ensure_ascii=False)


def _total(values: Sequence[float | None]) -> float | None:
    """The sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known or not values else None
