"""Locks that the kernel drops at their holder's death: who holds one is alive, whatever its process number."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

WAIT_SECONDS = 2.0  # between two tries


class HeldError(Exception):
    """Another process holds the lock; the message says which."""


@contextmanager
def hold(path: Path, wait: Callable[[str], object] | None = None) -> Iterator[None]:
    """Hold a lock file.

    Args:
        path: of the file; its text names the holder.
        wait: told who holds it, once, before waiting for it; without it nobody waits.

    Raises:
        HeldError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        told = False
        while not _try(file.fileno()):
            file.seek(0)
            holder = file.read() or "starting"
            if wait is None:
                raise HeldError(holder)
            if not told:
                wait(holder)
                told = True
            time.sleep(WAIT_SECONDS)
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock; a file that does not exist is free."""
    try:
        with path.open("rb") as file:
            return _try(file.fileno())
    except FileNotFoundError:
        return True


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
