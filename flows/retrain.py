"""Retrain: bring DVC's pipeline up to date, register what it made, and promote it if the gate holds.

`mmesid retrain --datasets sample` runs it here; with `PREFECT_API_URL` set, a running server shows it.
`mmesid up` runs it as `prefect.yaml` says.
"""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import deployment, flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task, exponential_backoff
from pydantic import BeforeValidator, Field

from flows import pages
from flows.entrance import ended_by_sigterm, enter
from mmesid import config, registry, tracking
from mmesid.config import check_datasets, split_names
from mmesid.errors import ConfigError, MmesidError
from mmesid.host import HeldError, hold
from mmesid.pipeline.graph import Graph, check_one_run, due, known_datasets, read_graph, select
from mmesid.pipeline.mend import mend
from mmesid.pipeline.overrides import Value, apply, parse
from mmesid.pipeline.repo import check_texts
from mmesid.pipeline.sources import refresh, tracked
from mmesid.pipeline.stage import end_stages, run_dvc_stage
from mmesid.servers import presence
from mmesid.servers.reap import reap

PARALLEL, MOST = 1, 64  # stages at a time, by default and at most: a training uses every core
RETRIES, FIRST_DELAY = 4, 5.0  # of what waits for a server: after 5, 10, 20 and 40 s


def check_parallel(given: object) -> object:
    """Stages at a time, as given.

    Raises:
        ConfigError: a number that is out of range; Prefect would name one of its ends, and no server is asked for it.
    """
    if isinstance(given, int) and not 1 <= given <= MOST:
        raise ConfigError(f"parallel: {given} stages at a time are out of range: from 1 to {MOST}")
    return given


Parallel = Annotated[int, Field(ge=1, le=MOST), BeforeValidator(check_parallel)]
Overrides = dict[str, Value]
P = ParamSpec("P")
R = TypeVar("R")


class BusyError(MmesidError):
    """Another retrain works in this checkout."""


def may_pass(task: Any, task_run: Any, state: Any) -> bool:
    """Whether a failure is worth a retry: a server that is down may come back, everything else fails again."""
    try:
        state.result()
    except Exception as error:
        return tracking.is_unreachable(error)
    return False


def waits_for_servers(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A task of this name that is tried again while a server is down."""
    return task(
        task_run_name=name,
        cache_policy=NO_CACHE,
        retries=RETRIES,
        retry_delay_seconds=exponential_backoff(FIRST_DELAY),
        retry_condition_fn=may_pass,
    )


@task(cache_policy=NO_CACHE)
def run_stage(stage: str, root: Path, environment: dict[str, str], force: bool) -> None:
    """One stage, in a child process. It is not retried: what failed once fails again, and costs as much."""
    progress = pages.Progress(stage, get_run_logger().info)
    run_dvc_stage(stage, root, environment, force, progress)
    progress.done()


@waits_for_servers("register@{dataset}")
def register(dataset: str, root: Path) -> str:
    """The trained model becomes the challenger; the same model is not registered twice."""
    check_one_run(dataset, root)
    version = registry.register(dataset, root)
    get_run_logger().info(f"{registry.model_name(dataset)} version {version} is the challenger")
    return version


@waits_for_servers("promote@{dataset}")
def promote(dataset: str, root: Path) -> tuple[bool, str]:
    """The challenger becomes champion if the gate holds; either way the decision is shown, and returned as text."""
    asked = registry.moment()
    check_one_run(dataset, root)
    record = registry.promote(dataset, root)
    text = registry.describe(record, asked)
    create_markdown_artifact(text, key=pages.slug(f"decision-{dataset}"), description="Promotion gate")
    get_run_logger().info(text)
    return record.passed, text


@flow(name="retrain", log_prints=False)
def retrain(
    datasets: list[str] | None = None,
    promotion: bool = True,
    force: bool = False,
    parallel: Parallel = PARALLEL,
    overrides: Overrides | None = None,
    root: Path | None = None,
) -> dict[str, bool | None]:
    """Run every stage that is out of date, then register and promote each dataset's model.

    Args:
        datasets: which ones; those of `params.yaml` by default.
        promotion: let the gate decide about the champion; otherwise the model is registered only.
        force: run every stage, changed or not.
        parallel: stages at a time.
        overrides: parameters to change for good in `conf/<dataset>.yaml` before the run, like {"finetune.epochs": 2}.
        root: the project's folder, the working directory by default.

    Returns:
        Whether each dataset's challenger passed the gate; None where it was not asked.
    """
    root, identity = (root or Path()).absolute(), str(flow_run.id)
    check_root(root)
    log = get_run_logger().info
    with ended_by_sigterm(), presence.present(root, identity), only_one(root, wait=deployment.id is not None):
        for line in [*mend(root), *refresh(tracked(root), root)]:
            log(line)
        chosen, stages, notes = plan(datasets, force, overrides or {}, root)
        for line in reap(root, chosen, exclude_run=identity):
            log(line)
        log(f"stages to run: {', '.join(stages) or 'none, everything is up to date'}")
        try:
            run_stages(stages, root, force, parallel)
        finally:
            tracking.send_pending(root)
        for dataset in chosen:
            register(dataset, root)
        decisions = {dataset: promote(dataset, root) if promotion else (None, "") for dataset in chosen}
        summarize(chosen, list(stages), notes, [text for _, text in decisions.values()], root)
        return {dataset: passed for dataset, (passed, _) in decisions.items()}


def check_root(root: Path) -> None:
    """Raises ConfigError where a folder is no project, before anything is made in it."""
    if not (root / "dvc.yaml").is_file():
        raise ConfigError(f"root: {root} has no dvc.yaml; it must be the project's folder, or be left out")


def plan(
    names: Sequence[str] | None, force: bool, changes: Overrides, root: Path
) -> tuple[list[str], Graph, list[str]]:
    """What will run: the datasets, their stages, and a line for each parameter that an override has changed.

    Raises:
        ConfigError: a dataset is unknown or an override does not fit; nothing has been changed then.
    """
    graph, changed = read_graph(root)
    chosen = list(names or known_datasets(graph))
    check_datasets(chosen, known_datasets(graph))
    if notes := apply(changes, chosen, root):
        get_run_logger().info("\n".join(notes))
        graph, changed = read_graph(root)
    stages = select(graph, chosen)
    return chosen, stages if force else due(stages, changed), notes


def summarize(chosen: list[str], stages: list[str], notes: list[str], decisions: list[str], root: Path) -> None:
    """What the run did, as an artifact; and MLflow's run of this execution leads back here."""
    identity = str(flow_run.id)
    ran = f"Ran {', '.join(stages)}." if stages else "Nothing had changed: no stage ran, and no model is new."
    parts = [ran, *(f"- {note}" for note in notes)]
    for dataset in chosen:
        parts += [f"## {dataset}", pages.show_metrics(dataset, root)]
    parts += ["## Decisions", *decisions, "## Links"]
    try:
        parts.append(pages.links(chosen, root, identity))
        for dataset in chosen if stages else []:
            pages.link_back(dataset, root, identity, os.environ["MMESID_EXECUTION"])
    except Exception as error:
        if not tracking.is_unreachable(error):
            raise
        parts.append("MLflow does not answer; search there for the tag `mmesid.flow_run` once it does")
    create_markdown_artifact("\n\n".join(filter(None, parts)), key="retrain", description="What this retrain did")


def run_stages(stages: Graph, root: Path, force: bool, parallel: int) -> None:
    """Run the stages as tasks named after them, each after its upstream stages, `parallel` at a time.

    Raises:
        StageError: of the first stage that failed; those that wait for it do not run.
    """
    identity = str(flow_run.id or "")
    environment = {"MMESID_EXECUTION": f"retrain-{identity[:8]}", "MMESID_FLOW_RUN_ID": identity}
    os.environ.update(environment)  # registration belongs to the same execution
    futures: dict[str, Any] = {}
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=parallel)
    with runner, ended_with_the_flow():
        for stage, upstream in stages.items():
            named = run_stage.with_options(name=stage, task_run_name=stage)
            parameters = {"stage": stage, "root": root, "environment": environment, "force": force}
            waits = [futures[other] for other in upstream]
            futures[stage] = runner.submit(named, parameters, wait_for=waits)
        for future in futures.values():
            future.wait()
    for future in futures.values():
        if future.state.is_failed():
            future.state.result(raise_on_failure=True)


@contextmanager
def ended_with_the_flow() -> Iterator[None]:
    """A flow run that is cancelled ends the stages at work, which its runner would wait for."""
    try:
        yield
    except BaseException:
        end_stages()
        raise


@contextmanager
def only_one(root: Path, wait: bool = False) -> Iterator[None]:
    """Hold the checkout's lock. A scheduled run waits for it; a second one started by hand is refused at once.

    Raises:
        BusyError: another retrain runs here.
    """
    path = root / "mlruns" / ".retrain.lock"

    def log_wait(holder: str) -> None:
        get_run_logger().info(f"waits for another retrain in {root} ({holder})")

    try:
        with hold(path, log_wait if wait else None):
            yield
    except HeldError as holder:
        raise BusyError(f"another retrain runs in {root} ({holder}); wait for it or end it") from None


def main() -> None:
    """The command line: a failure is the stage's own message and exit status 1."""
    parser = argparse.ArgumentParser(prog="mmesid retrain", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--datasets", type=split_names, help="a,b; those of params.yaml by default")
    parser.add_argument("--promote", action=argparse.BooleanOptionalAction, default=True, help="ask the gate")
    parser.add_argument("--force", action="store_true", help="run every stage, changed or not")
    parser.add_argument("--parallel", type=int, default=PARALLEL, help=f"stages at a time, 1 to {MOST}")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change a parameter in conf/<dataset>.yaml first, for good",
    )
    options = parser.parse_args()

    def run() -> None:
        changes = dict(map(parse, options.set))
        retrain(options.datasets, options.promote, options.force, options.parallel, changes)

    def check() -> None:
        check_parallel(options.parallel)
        check_datasets(options.datasets or (), config.datasets())
        check_texts(Path())

    enter(check, run, "stopped; the next retrain goes on where this one was")


if __name__ == "__main__":
    main()
