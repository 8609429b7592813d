"""Processes of this machine: found by what stands in their environment, and ended together."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FrameType

import psutil

PAUSE = 0.2  # seconds between two looks
KILL_SECONDS = 10.0  # within which the kernel has ended what was killed


def marked(variables: Mapping[str, str]) -> list[psutil.Process]:
    """Live processes of this user that were started with all of these variables, this process left out.

    Children inherit them, so that even a process whose parents are all dead is found.
    """
    processes = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()  # empty for one that is dead
        except psutil.Error:
            continue
        if variables.items() <= environment.items() and process.pid != os.getpid():
            processes.append(process)
    return processes


def end(
    variables: Mapping[str, str],
    grace: float,
    reap: Callable[[], object] = lambda: None,
    hurried: Callable[[], bool] = lambda: False,
) -> int:
    """Ask the marked processes to end, and after `grace` seconds make them.

    Args:
        variables: that mark them, see `marked`.
        grace: seconds.
        reap: collects the status of children, so that none stays a zombie.
        hurried: whether what is left of `grace` shall not be waited for.

    Returns:
        How many there were.
    """
    first = marked(variables)
    _send(signal.SIGTERM, first)
    if left := _wait(variables, grace, reap, hurried):
        _send(signal.SIGKILL, left)
        until = time.monotonic() + KILL_SECONDS
        while (left := _wait(variables, PAUSE, reap, lambda: False)) and time.monotonic() < until:
            _send(signal.SIGKILL, left)  # those started in the meantime too
    return len(first)


def kill_children() -> None:
    """End every process that this one has started, and what those have started, without waiting."""
    with suppress(psutil.Error):
        _send(signal.SIGKILL, psutil.Process().children(recursive=True))


def _wait(
    variables: Mapping[str, str], seconds: float, reap: Callable[[], object], hurried: Callable[[], bool]
) -> list[psutil.Process]:
    """Wait until the marked processes are gone, at most some seconds. Returns those that are left."""
    until = time.monotonic() + seconds
    while (left := marked(variables)) and time.monotonic() < until and not hurried():
        time.sleep(PAUSE)
        reap()
    return left


def take_ends(handler: Callable[[int, FrameType | None], object]) -> None:
    """Let a handler take the signals that ask a server to end; below `nohup` the end of the terminal stays ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def watch_over(variables: Mapping[str, str], grace: float) -> int:
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
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.close(write_end)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        os.read(read_end, 1)
        end(variables, grace)
    finally:
        os._exit(0)


def _send(number: signal.Signals, processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):  # it has just ended
            process.send_signal(number)
