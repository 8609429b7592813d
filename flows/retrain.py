"""Retrain: bring DVC's pipeline up to date, register what it made, and promote it if the gate holds.

`python -m flows.retrain --datasets sample` runs it here; with `PREFECT_API_URL` set, a running server shows it.
"""

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from flows.graph import Graph, due, known_datasets, read_graph, select
from flows.stage import StageError, run_dvc_stage
from mmesid import mending, tracking
from mmesid.errors import ConfigError, MmesidError

PARALLEL = 1  # stages at a time: a training uses every core


class BusyError(MmesidError):
    """Another retrain works in this checkout."""


@task(cache_policy=NO_CACHE)
def run_stage(stage: str, root: Path, environment: dict[str, str], force: bool) -> None:
    """One stage, in a child process."""
    run_dvc_stage(stage, root, environment, force, get_run_logger().info)


@task(cache_policy=NO_CACHE)
def register(dataset: str, root: Path) -> str:
    """The trained model becomes the challenger."""
    from mmesid import registry

    version = registry.register(dataset, root)
    get_run_logger().info(f"{registry.model_name(dataset)} version {version} is the challenger")
    return version


@task(cache_policy=NO_CACHE)
def promote(dataset: str, root: Path) -> bool:
    """The challenger becomes champion if the gate holds; either way the decision is shown."""
    from mmesid import registry

    record = registry.promote(dataset, root)
    text = registry.describe(record)
    create_markdown_artifact(text, key=f"decision-{dataset}".lower().replace("_", "-"), description="Promotion gate")
    get_run_logger().info(text)
    return record.passed


@flow(name="retrain", log_prints=False)
def retrain(
    datasets: list[str] | None = None,
    promotion: bool = True,
    force: bool = False,
    parallel: int = PARALLEL,
    root: Path | None = None,
) -> dict[str, bool | None]:
    """Run every stage that is out of date, then register and promote each dataset's model.

    Args:
        datasets: which ones; those of `params.yaml` by default.
        promotion: let the gate decide about the champion; otherwise the model is registered only.
        force: run every stage, changed or not.
        parallel: stages at a time.
        root: the project's folder, the working directory by default.

    Returns:
        Whether each dataset's challenger passed the gate; None where it was not asked.
    """
    root = (root or Path()).absolute()
    with only_one(root):
        mending.mend(root)
        graph, changed = read_graph(root)
        chosen = check_datasets(datasets or known_datasets(graph), graph)
        stages = select(graph, chosen)
        stages = stages if force else due(stages, changed)
        get_run_logger().info(f"stages to run: {', '.join(stages) or 'none, everything is up to date'}")
        try:
            run_stages(stages, root, force, parallel)
        finally:
            tracking.send_pending(root)
        for dataset in chosen:
            register(dataset, root)
        return {dataset: promote(dataset, root) if promotion else None for dataset in chosen}


def run_stages(stages: Graph, root: Path, force: bool, parallel: int) -> None:
    """Run the stages as tasks named after them, each after those it waits for, `parallel` at a time.

    Raises:
        StageError: of the first stage that failed; those that wait for it do not run.
    """
    identity = str(flow_run.id or "")
    environment = {"MMESID_EXECUTION": f"retrain-{identity[:8]}", "MMESID_FLOW_RUN_ID": identity}
    os.environ.update(environment)  # registration belongs to the same execution
    with ThreadPoolTaskRunner(max_workers=parallel) as runner:
        futures: dict[str, Any] = {}
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


def check_datasets(names: list[str], graph: Graph) -> list[str]:
    """Only datasets that `dvc.yaml` runs can be retrained."""
    known = known_datasets(graph)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"{', '.join(unknown)}: no such dataset among {', '.join(known)}; `datasets` in params.yaml lists them"
        )
    return list(names)


@contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Hold the checkout's lock, or say at once who does.

    Raises:
        BusyError: another retrain runs here.
    """
    path = root / "mlruns" / ".retrain.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise BusyError(
                f"another retrain runs in {root} ({file.read() or 'starting'}); wait for it or end it"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def main() -> None:
    """The command line: a failure is the stage's own message and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m flows.retrain", description=retrain.description)
    parser.add_argument("--datasets", type=lambda text: text.split(","), help="a,b; those of params.yaml by default")
    parser.add_argument("--promote", action=argparse.BooleanOptionalAction, default=True, help="ask the gate")
    parser.add_argument("--force", action="store_true", help="run every stage, changed or not")
    parser.add_argument("--parallel", type=int, default=PARALLEL, help="stages at a time")
    given = parser.parse_args()
    try:
        retrain(given.datasets, given.promote, given.force, given.parallel)
    except (StageError, MmesidError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
