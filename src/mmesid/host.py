"""This machine, for every package here: locks, the end of a process with its parent, and a quiet environment.

A lock lasts as long as the file that it was taken on is open: the kernel drops it at its holder's death, so whoever
holds one is alive, whatever its process number. `filelock` does not fit: it always creates the file that it locks, so
asking whether a lock is free would leave files behind and bring a journal back that has just been sent, and it opens a
file of its own, where a journal locks the very file that it writes.
"""

import ctypes
import fcntl
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

WAIT_SECONDS = 2.0  # between two tries to take a lock
QUIET = {  # no package calls home; most read this only when they are imported
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


class HeldError(Exception):
    """Another process holds the lock; the message names it."""


@contextmanager
def scratch(inside: Path | None = None) -> Iterator[Path]:
    """A folder that is gone afterwards, for what does not fit memory or must be written anew to be read.

    Args:
        inside: the folder to make it in, where what is written shall be renamed to a place there.
    """
    with tempfile.TemporaryDirectory(prefix="mmesid-", dir=inside) as folder:
        yield Path(folder)


def take_lock(file: IO[Any], wait: bool = True) -> bool:
    """Lock an open file until it is closed. Without waiting, returns False where another process holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for, then hold, a lock file for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        take_lock(file)
        yield


@contextmanager
def hold(path: Path, wait: Callable[[str], object] | None = None) -> Iterator[None]:
    """Hold a lock file for long: its text names the holder.

    Args:
        path: of the file.
        wait: called once with the holder's name, before waiting for it; without it, a held lock is an error.

    Raises:
        HeldError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        is_waiting = False
        while not take_lock(file, wait=False):
            file.seek(0)
            holder = file.read() or "starting"
            if wait is None:
                raise HeldError(holder)
            if not is_waiting:
                wait(holder)
                is_waiting = True
            time.sleep(WAIT_SECONDS)
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock; a file that does not exist is free."""
    try:
        with path.open("rb") as file:
            return take_lock(file, wait=False)
    except FileNotFoundError:
        return True


def die_with_parent(with_signal: int = signal.SIGKILL) -> None:
    """On Linux, the kernel signals this process when the thread that started it ends. Serves as a `preexec_fn`."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, with_signal)


def cores() -> int:
    """Of this machine, for this process: those that the system and a launcher leave it."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, allowed // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def is_launched() -> bool:
    """Whether a launcher such as torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def set_defaults(variables: Mapping[str, str]) -> None:
    """Set environment variables that are not set yet."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def prefect_settings(root: Path) -> dict[str, str]:
    """What Prefect reads when it is imported.

    Args:
        root: the project's folder, which keeps all of Prefect's state.
    """
    return {
        **QUIET,
        "PREFECT_HOME": str(root.absolute() / ".prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # it needs 11-19 s; Prefect's own limit is 20 s
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }
