"""The matrix of faults: an outside part x a way to fail x a command that needs it.

Each cell demands: no traceback, an exit status that is not 0, one sentence that names what to change, within seconds.
"""

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import faulty, ports, tiny_world
from tests.faulty import NOBODY, Fault, at_version, cut_short, database, garbage, hanging, locked, other_server, set_to

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(900)]  # a busy machine: the first cell waits for the world
LIMIT = 15.0  # seconds that a command may wait, beside those in which it computes
SHARE = 0.5  # of a core, at least, that a command has on a busy machine

URI, API, STATE = "MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_API_DATABASE_CONNECTION_URL"
PREFECT = ".prefect/prefect.db"
POSTGRES = "postgresql://me:secret@{}/runs"


class Cell(NamedTuple):
    """One fault and the commands that meet it."""

    fault: Fault
    commands: str  # separated by |
    named: str  # the key, variable, file or command that the sentence holds


READ, WRITE = "history sample|serve sample --port PORT|compare", "register sample|promote sample"
FLOW = "retrain|recommend sample --all"
NAMED = "recommend nope --history a|serve nope|register nope|promote nope|rollback nope|history nope"
LISTED = "plan --datasets nope|compare --datasets nope|sources --datasets nope|retrain --datasets nope"

MATRIX = {
    "tracking refuses": Cell(set_to(URI, f"http://{NOBODY}"), f"{READ}|{WRITE}|{FLOW}|reap|doctor", URI),
    "tracking hangs": Cell(hanging(URI, "http://{}"), f"{READ}|register sample|retrain|doctor", URI),
    "tracking is ill": Cell(other_server(URI, "http://{}", 500), "history sample|register sample|doctor", URI),
    "tracking is another": Cell(other_server(URI, "http://{}", 404), "history sample|register sample", URI),
    "tracking is healthy but hangs": Cell(
        other_server(URI, "http://{}", faulty.HANG, 200), "history sample|recommend sample --history item-1|doctor", URI
    ),
    "tracking is healthy but ill": Cell(other_server(URI, "http://{}", 503, 200), "history sample|doctor", URI),
    "tracking cannot be made": Cell(set_to(URI, "sqlite:////proc/x.db"), "history sample|doctor", URI),
    "prefect's file cannot be made": Cell(set_to(STATE, "sqlite+aiosqlite:////proc/x.db"), "retrain|doctor", STATE),
    "tracking is a folder": Cell(set_to(URI, "file://ROOT/runs"), f"history sample|{WRITE}|retrain|doctor", URI),
    "tracking has no scheme": Cell(set_to(URI, "ROOT/runs"), "history sample|doctor", URI),
    "tracking has an unknown scheme": Cell(set_to(URI, "htp://there"), "history sample|register sample|doctor", URI),
    "tracking in a folder that is not there": Cell(set_to(URI, "sqlite:////dev/null/x.db"), "history sample", URI),
    "tracking is locked": Cell(locked("mlruns/mlflow.db"), "history sample|register sample|doctor", "locked"),
    "tracking is garbage": Cell(database(garbage), "history sample|register sample|doctor", "mlflow.db"),
    "tracking is cut short": Cell(database(cut_short), "history sample|doctor", "mlflow.db"),
    "tracking is older": Cell(
        database(at_version("7f2a7d5fae7d")), "history sample|register sample", "mlflow db upgrade"
    ),
    "tracking is newer": Cell(database(at_version("ffffffffffff")), "history sample|register sample", "newer MLflow"),
    "postgres refuses": Cell(set_to(URI, POSTGRES.format(NOBODY)), f"history sample|{WRITE}|retrain|doctor", URI),
    "postgres hangs": Cell(hanging(URI, POSTGRES), "history sample|register sample|doctor", URI),
    "prefect refuses": Cell(set_to(API, f"http://{NOBODY}/api"), f"{FLOW}|reap|doctor", API),
    "prefect hangs": Cell(hanging(API, "http://{}/api"), f"{FLOW}|doctor", API),
    "prefect is another": Cell(other_server(API, "http://{}/api", 404), "retrain|doctor", API),
    "prefect's postgres refuses": Cell(set_to(STATE, "postgresql+asyncpg://me:secret@" + NOBODY), "retrain", STATE),
    "prefect's postgres hangs": Cell(hanging(STATE, "postgresql+asyncpg://me:secret@{}/p"), "retrain", STATE),
    "prefect is locked": Cell(locked(PREFECT), "retrain", "prefect.db"),
    "prefect is garbage": Cell(database(garbage, PREFECT), "retrain|doctor", "prefect.db"),
    "prefect's folder is no folder": Cell(
        faulty.spoiled(lambda root: root / ".prefect", faulty.into_file), f"{FLOW}|doctor", "PREFECT_HOME"
    ),
    "prefect is newer": Cell(database(at_version("ffffffffffff"), PREFECT), "retrain", "newer Prefect"),
    "servers on a postgres that refuses": Cell(
        set_to("MMESID_POSTGRES", "postgresql://me:secret@" + NOBODY), "up --prefect-port PORT", "--postgres"
    ),
    "the model is gone": Cell(
        faulty.spoiled(faulty.model_folder, shutil.rmtree),
        "promote sample|recommend sample --history item-1|serve sample --port PORT|recommend sample --all",
        "`mmesid register sample`",
    ),
    "the model is cut short": Cell(
        faulty.spoiled(lambda root: faulty.largest(faulty.model_folder(root)), cut_short),
        "promote sample|recommend sample --history item-1|serve sample --port PORT",
        "`mmesid register sample`",
    ),
    "an output is gone": Cell(
        faulty.spoiled(lambda root: root / "data/sample/evaluate/metrics.json", Path.unlink),
        "register sample",
        "metrics.json",
    ),
    "an output is cut short": Cell(
        faulty.spoiled(lambda root: root / "data/sample/prepare/items.parquet", cut_short),
        "register sample",
        "items.parquet",
    ),
    "no decision can be recorded": Cell(
        faulty.no_room_for_records, "promote sample|rollback sample", "should be a folder"
    ),
    "no model can be stored": Cell(
        faulty.spoiled(lambda root: faulty.model_folder(root).parents[1], faulty.into_file),
        "register sample",
        "should be a folder",
    ),
    "the disk is full": Cell(faulty.full_disk, "register sample", "the disk "),
    "the remote is gone": Cell(
        faulty.spoiled(
            lambda root: root / ".dvc/config",
            lambda path: path.write_text("[core]\n    remote = far\n['remote \"far\"']\n    url = /not/there\n"),
        ),
        "doctor",
        "mmesid remote",
    ),
    "the log waits": Cell(faulty.unsent, "log", URI),
    "the remote's file is garbage": Cell(
        faulty.spoiled(lambda root: root / ".dvc/config", garbage), "doctor", ".dvc/config"
    ),
    "parameters are a folder": Cell(
        faulty.spoiled(lambda root: root / "params.yaml", faulty.into_folder),
        "doctor|retrain",
        "params.yaml is a folder",
    ),
    "a dataset is a folder": Cell(
        faulty.spoiled(lambda root: root / "conf/sample.yaml", faulty.into_folder),
        "doctor|sources",
        "sample.yaml is a folder",
    ),
    "parameters hold a conflict": Cell(
        faulty.spoiled(lambda root: root / "params.yaml", faulty.into_conflict),
        "retrain|plan|register sample|promote sample|doctor",
        "params.yaml holds merge conflict markers at line 1",
    ),
    "the pipeline holds a conflict": Cell(
        faulty.spoiled(lambda root: root / "dvc.yaml", faulty.into_conflict),
        "retrain|plan|register sample",
        "dvc.yaml holds merge conflict markers at line 1",
    ),
    "a source holds a conflict": Cell(
        faulty.spoiled(lambda root: root / "sources" / "sample.dvc", faulty.into_conflict),
        "plan|sources|register sample|doctor",
        "sample.dvc holds merge conflict markers at line 1",
    ),
    "the schedule holds a conflict": Cell(
        faulty.spoiled(lambda root: root / "prefect.yaml", faulty.into_conflict),
        "up --prefect-port PORT",
        "prefect.yaml holds merge conflict markers at line 1",
    ),
    "the remote's file holds a conflict": Cell(
        faulty.spoiled(lambda root: root / ".dvc/config", faulty.into_conflict), "plan", ".dvc/config"
    ),
    "the lock holds a conflict": Cell(
        faulty.spoiled(lambda root: root / "dvc.lock", faulty.into_conflict),
        "retrain|plan|register sample|doctor",
        "dvc.lock holds a merge conflict",
    ),
    "too many at a time": Cell(
        set_to("X", ""), "retrain --parallel 0|retrain --parallel -1|retrain --parallel 65", "from 1 to 64"
    ),
    "git is gone": Cell(faulty.spoiled(lambda root: root / ".git", shutil.rmtree), "plan|doctor", "git init"),
    "no such dataset": Cell(set_to("X", ""), f"{NAMED}|{LISTED}", "nope"),
}
CELLS = [(name, command) for name, cell in MATRIX.items() for command in cell.commands.split("|")]


def test_the_matrix_is_large() -> None:
    assert len(CELLS) >= 40


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, project_copy: Callable[[Path], Path]) -> Path:
    """A checkout whose only dataset is trained, and whose first version is the champion."""
    folder = project_copy(tmp_path_factory.mktemp("faults"))
    tiny_world.make_champion(folder)
    return folder


def computed() -> float:
    """Seconds of computing that the commands up to now have taken: a busy machine makes them longer by the clock."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def run(root: Path, command: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """A command of the project's, as a terminal would run it."""
    words = command.replace("PORT", str(ports.free(1)[0])).split()
    code = os.pathsep.join([str(root / "src"), str(root)])
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_TRACK", "PREFECT_"))}
    size = int(environment.get("FILE_SIZE", 0))

    def limited() -> None:
        if size:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return subprocess.run(
        [sys.executable, "-m", "mmesid.commands.cli", *words],
        cwd=root,
        env={**clean, "PYTHONPATH": code, "COLUMNS": "5000", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=limited,
    )


@pytest.mark.parametrize(("fault", "command"), CELLS, ids=[f"{name}: {command}" for name, command in CELLS])
def test_a_fault_is_one_sentence_within_seconds(fault: str, command: str, root: Path) -> None:
    cell = MATRIX[fault]
    with cell.fault(root) as environment:
        started, before = time.monotonic(), computed()
        done = run(root, command, environment)
        seconds, work = time.monotonic() - started, computed() - before
    said = done.stdout
    assert "Traceback (most recent call last)" not in said, said
    assert "the traceback is in" not in said, said  # it was foreseen
    assert done.returncode == 1, said
    assert cell.named in said, said
    assert "secret" not in said
    assert seconds <= LIMIT + work / SHARE, f"{seconds:.0f} s, of which {work:.0f} s of computing: {said}"


def test_after_the_faults_everything_is_as_before(root: Path) -> None:
    assert "version 1 is the challenger" in run(root, "register sample", {}).stdout
    assert run(root, "recommend sample --history item-1", {}).returncode == 0
