"""What goes wrong around a checkout while it works: each fault lasts for a block, and is mended at its end.

Only `lose_models` is never mended: what a person does then stands in `__main__`.
"""

import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import faulty, tiny
from tests.soak import draws

ROOM = 4096  # bytes to which a file may grow on a full disk
ARTIFACTS = Path("mlruns", "artifacts", tiny.NAME)


@contextmanager
def fill_disk(root: Path) -> Iterator[None]:
    """No process can let a file grow: neither the servers, nor the flow, nor its stages. Linux only."""
    _limit_files(root, ROOM)
    try:
        yield
    finally:
        _limit_files(root, None)


@contextmanager
def stop_mlflow(root: Path) -> Iterator[None]:
    """MLflow's server takes connections and answers nothing."""
    pids = draws.alive(root, "mlflow")
    _signal(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(pids, signal.SIGCONT)


@contextmanager
def lock_database(root: Path) -> Iterator[None]:
    """Another process holds MLflow's database."""
    with faulty.locked("mlruns/mlflow.db")(root):
        yield


@contextmanager
def take_artifacts(root: Path) -> Iterator[None]:
    """Every model and every record of a decision is away, and comes back from a backup; what is new stays."""
    place = root / ARTIFACTS
    with TemporaryDirectory(dir=root.parent) as elsewhere:
        backup = Path(elsewhere) / "backup"
        if place.exists():
            place.rename(backup)
        try:
            yield
        finally:
            for path in sorted(backup.rglob("*")):
                target = place / path.relative_to(backup)
                if path.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                elif not target.exists():
                    path.rename(target)


@contextmanager
def lose_models(root: Path) -> Iterator[None]:
    """The files of every registered model are gone for good; the records of decisions are not."""
    shutil.rmtree(root / ARTIFACTS / "models", ignore_errors=True)
    yield


FAULTS: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "disk full": fill_disk,
    "MLflow hangs": stop_mlflow,
    "database locked": lock_database,
    "artifacts away": take_artifacts,
    "models lost": lose_models,
}


LOSING = ("artifacts away", "models lost")  # after which a version may lack its files, or have been registered anew
LOST = "models lost"


def _limit_files(root: Path, size: int | None) -> None:
    """Let no process of a checkout write files beyond a size; None lifts it. Children inherit it, hence the repeats."""
    changed = True
    while changed:
        changed = False
        for process in draws.everyone(root):
            with suppress(ProcessLookupError):
                soft, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
                wanted = hard if size is None else size
                if soft != wanted:
                    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (wanted, hard))
                    changed = True


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it was killed while it was stopped
            os.kill(pid, number)
