"""One DVC stage in a child process: its lines are passed on as they come, and it dies with its parent."""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from mmesid.host import die_with_parent

_running: "set[subprocess.Popen[str]]" = set()
_ending = threading.Event()
TAIL = 40  # lines of a failed stage that the error repeats


class StageError(Exception):
    """A stage ended with an error; the message is the stage's own."""


def run_dvc_stage(
    stage: str,
    root: Path,
    environment: Mapping[str, str],
    force: bool,
    log: Callable[[str], object],
    alone: bool = True,
) -> None:
    """Bring one stage up to date, alone or after all above it; DVC skips what is.

    Args:
        stage: name in `dvc.yaml`, `finetune@sample`.
        root: the project's folder.
        environment: variables added to this process's own.
        force: run it even if nothing has changed.
        log: takes each line of output.
        alone: leave the stages above it as they are.

    Raises:
        StageError: with the last lines that the stage wrote.
    """
    if _ending.is_set():
        raise StageError(f"{stage} was not begun: everything is being stopped")
    options = [*(["--single-item"] if alone else []), *(["--force"] if force else [])]
    command = [sys.executable, "-m", "dvc", "repro", stage, *options]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # a stage's `python` is this one
    tail: deque[str] = deque(maxlen=TAIL)
    with subprocess.Popen(
        command,
        cwd=root,
        env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=die_with_parent,
    ) as process:
        _running.add(process)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if text := line.rstrip():
                    tail.append(text)
                    log(text)
            status = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
        finally:
            _running.discard(process)
    if status:
        raise StageError(explain(stage, status, list(tail)))


def end_stages(with_signal: int = signal.SIGTERM) -> None:
    """Ask the stages at work to end, each with all that it has started; no other begins in this process."""
    _ending.set()
    for process in tuple(_running):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, with_signal)


def explain(stage: str, status: int, tail: list[str]) -> str:
    """The stage's own error text, without what DVC wraps around it."""
    noise = ("ERROR: failed to reproduce", "> python", "Running stage")
    lines = [line for line in tail if line and not line.startswith(noise)]
    return f"{stage} failed with status {status}:\n" + "\n".join(lines)
