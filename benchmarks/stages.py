"""Where the minutes of `make repro` go: seconds and peak memory of every stage, told apart.

`python -m benchmarks.stages [--datasets sample,beauty] [--only STAGE,STAGE] [--quick] [--output FILE]`. Every stage's
entry runs as a child in a copy of the project, in the order of `dvc.yaml`. With `--only`, the results of the other
stages are copied from `data/`, which must be complete.

- import: the interpreter's start and every import of the main thread, late ones too
- artifacts: loading and saving what passes between stages, parsing and compression included
- compute: the rest of the stage's `run`; sources read by `ingest` and files read by a library count here
- other: parameters, journal, waiting for the tracker to take the last lines, exit

What `dvc` itself takes (its start, hashing, caching) is not in it, nor is the tracker's own process, though it shares
the processor. In the result a is the wall time of all stages, b what of it is neither import nor other.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks import measure

NAME = "stages"
ALL = "all datasets"  # the table of a stage that is one for all
ROOT = Path(__file__).parents[1]
FOLDERS, FILES = ("src", "conf", "sources"), ("params.yaml", "dvc.yaml")  # all that the stages read
TINY = {"users": 160, "items": 60}  # the sample's recipe with --quick
PARTS = ("import", "artifacts", "compute", "other")

Report = dict[str, Any]


def main(given: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print, write."""
    parser = argparse.ArgumentParser(prog=f"benchmarks.{NAME}", description=__doc__)
    parser.add_argument("--datasets", default="sample", help="names of files in conf/, separated by commas")
    parser.add_argument("--only", help="stages, separated by commas; all by default")
    measure.add_options(parser)
    options = parser.parse_args(given)
    only = options.only.split(",") if options.only else None
    measure.finish(run(options.datasets.split(","), only, options.quick), options)


def run(datasets: Sequence[str], only: Sequence[str] | None, quick: bool) -> measure.Result:
    """Measure the stages of some datasets.

    Args:
        datasets: names of files in conf/.
        only: these stages, on what `data/` holds of the others; None runs all.
        quick: the sample shrinks to a tiny one, and only `configure` and `ingest` run.

    Raises:
        ValueError: a stage has no such name.
        RuntimeError: a stage failed.
    """
    known = [(stage, "${item." in definition["cmd"]) for stage, definition in _pipeline().items()]
    wanted = (
        ["configure", "ingest"]
        if quick and only is None
        else [stage for stage, _ in known]
        if only is None
        else list(only)
    )
    if unknown := set(wanted) - {stage for stage, _ in known}:
        raise ValueError(f"no stage {', '.join(sorted(unknown))}; dvc.yaml has {', '.join(s for s, _ in known)}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root = copy_project(Path(folder) / "project", datasets, results=only is not None)
        if quick:
            _shrink(root)
        tables = {
            dataset: [measure_stage(root, stage, dataset) for stage, own in known if own and stage in wanted]
            for dataset in datasets
        }
        common = [measure_stage(root, stage, None) for stage, own in known if not own and stage in wanted]
    return result({**tables, **({ALL: common} if common else {})})


def result(tables: dict[str, list[Report]]) -> measure.Result:
    """Put the reports of all stages into one result."""
    rows = [row for rows in tables.values() for row in rows]
    wall = sum(row["seconds"] for row in rows)
    useful = sum(row["compute"] + row["artifacts"] for row in rows)
    return {
        "name": NAME,
        "ratio": wall / useful,
        "a": wall,
        "b": useful,
        "a_is": "wall time of all stages",
        "b_is": "compute and artifacts in it",
        "unit": "s",
        "runs": 1,
        "machine": measure.machine(),
        "tables": tables,
    }


def measure_stage(root: Path, stage: str, dataset: str | None) -> Report:
    """Run one stage in a copy of the project.

    Args:
        root: the copy.
        stage: its name.
        dataset: None where the stage is one for all datasets.

    Returns:
        stage, seconds (wall), the seconds of each of `PARTS`, cpu (seconds, user and system), peak_mib.

    Raises:
        RuntimeError: the stage failed; the end of its error output is in the message.
    """
    command = [
        sys.executable,
        "-P",
        str(ROOT / "benchmarks" / "stage_child.py"),
        stage,
        *([dataset] if dataset else []),
    ]
    report_path, errors = root / ".report.json", root / ".errors"
    spawned = time.monotonic()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(root / "src"),
        "MMESID_EXECUTION": "benchmark",
        "BENCHMARK_REPORT": str(report_path),
        "BENCHMARK_SPAWNED": repr(spawned),
    }
    with errors.open("wb") as stream:
        child = subprocess.run(command, cwd=root, env=environment, stdout=stream, stderr=stream, check=False)
    seconds = time.monotonic() - spawned
    if child.returncode:
        tail = errors.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise RuntimeError(f"stage {stage} of {dataset or ALL} ended with {child.returncode}:\n{tail}")
    return split(stage, seconds, json.loads(report_path.read_text(encoding="utf-8")))


def split(stage: str, seconds: float, report: Report) -> Report:
    """A row of the table from the wall time and the child's own report."""
    parts = {**report, "import": report["import"] + report["interpreter"]}
    del parts["interpreter"]
    parts["other"] = max(0.0, seconds - parts["import"] - parts["artifacts"] - parts["compute"])
    return {"stage": stage, "seconds": seconds, **parts}


def copy_project(root: Path, datasets: Sequence[str], results: bool) -> Path:
    """What the stages read, and with `results` what earlier stages left of these datasets."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, root / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copyfile(ROOT / name, root / name)
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    params["datasets"] = list(datasets)  # what the report covers
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    if results:
        for dataset in datasets:
            shutil.copytree(ROOT / "data" / dataset, root / "data" / dataset)
    return root


def _pipeline() -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return stages


def _shrink(root: Path) -> None:
    path = root / "sources" / "sample" / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**recipe, **TINY}, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main()
