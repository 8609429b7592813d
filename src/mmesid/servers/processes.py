"""Processes of this machine: found by what stands in their environment, ended together, and tied to their parent."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PAUSE = 0.2  # seconds between two looks


def die_with_parent(with_signal: int = signal.SIGKILL) -> None:
    """For `preexec_fn`, on Linux: the kernel signals the child when the thread that started it ends."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, with_signal)


def marked(variables: dict[str, str]) -> list[int]:
    """Live processes of this user that were started with all of these variables, this process left out.

    Children inherit them, so that even a process whose parents are all dead is found. Needs /proc; without it, none.
    """
    wanted = {f"{name}={value}".encode() for name, value in variables.items()}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")  # empty for one that is dead
        except OSError:
            continue
        if wanted <= set(environment) and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def end(variables: dict[str, str], grace: float, reap: Callable[[], object] = lambda: None) -> int:
    """Ask the marked processes to end, and after `grace` seconds make them.

    Args:
        variables: that mark them, see `marked`.
        grace: seconds.
        reap: collects the status of children, so that none stays a zombie.

    Returns:
        How many there were.
    """
    first = marked(variables)
    for name, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        _send(name, marked(variables))
        until = time.monotonic() + seconds
        while (left := marked(variables)) and time.monotonic() < until:
            if name == signal.SIGKILL:
                _send(name, left)  # those started in the meantime too
            time.sleep(PAUSE)
            reap()
        if not left:
            break
    return len(first)


def watch_over(variables: dict[str, str], grace: float) -> int:
    """Fork a process that ends the marked ones as soon as this one is gone, however it went.

    Returns:
        A file descriptor; closing it, or dying, sets the watcher off.
    """
    read_end, write_end = os.pipe()
    if os.fork():
        os.close(read_end)
        return write_end
    try:
        os.setsid()
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.SIG_IGN)
        os.close(write_end)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        os.read(read_end, 1)
        end(variables, grace)
    finally:
        os._exit(0)


def _send(name: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, name)
        except OSError:
            continue  # it has just ended
