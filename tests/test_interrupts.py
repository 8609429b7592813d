"""Ctrl-C at a terminal, as the kernel sends it: one line and the prompt within 15 s, a second one at once."""

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmesid.servers import processes
from tests import ports, tiny, tiny_world

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc"),
]
LIMIT = 15.0  # seconds after the first Ctrl-C; on a busy machine as long as Python takes to start, five times
AT_ONCE = 3.0  # after the second one, likewise
NOISE = re.compile(r"^(make: \*\*\*|ERROR: failed to reproduce)")  # of make and DVC, which we do not write
STAGE = """
import time
from mmesid.stages.entry import main

def run(config, store, log):
    print("ingest is at work", flush=True)
    time.sleep(3600)

if __name__ == "__main__":
    main(run)
"""


class Terminal:
    """A command in the foreground of a terminal of its own."""

    def __init__(self, root: Path, *command: str) -> None:
        self._keys, screen = pty.openpty()
        environment = {name: value for name, value in tiny.environment(root).items() if name != "MMESID_EXECUTION"}
        self.process = subprocess.Popen(
            command,
            cwd=root,
            env={**environment, "COLUMNS": "200"},
            stdin=screen,
            stdout=screen,
            stderr=screen,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(screen)
        self._said = bytearray()
        threading.Thread(target=self._listen, daemon=True).start()

    def said(self) -> str:
        """Everything on the screen."""
        return self._said.decode(errors="replace").replace("\r\n", "\n")

    def until(self, text: str, seconds: float = 900) -> None:
        """Wait for a text on the screen."""
        end = time.monotonic() + seconds
        while text not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.1)

    def press_ctrl_c(self) -> None:
        """What the kernel makes of the key: SIGINT to every process in the foreground."""
        os.write(self._keys, b"\x03")

    def ended(self, seconds: float) -> float:
        """Wait for the prompt. Returns how long it took."""
        started = time.monotonic()
        self.process.wait(seconds)
        return time.monotonic() - started

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)

    def _listen(self) -> None:
        while True:
            try:
                piece = os.read(self._keys, 4096)
            except OSError:  # the last one has closed the screen
                return
            self._said += piece


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background of a shell is born deaf to it


@pytest.fixture(scope="module")
def patience() -> float:
    """How much slower than a quiet machine this one is: how often Python's start fits a tenth of a second."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", "import json, subprocess"], check=True)
    return max(1.0, (time.monotonic() - started) / 0.1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, project_copy: Callable[[Path], Path]) -> Path:
    """The tiny world, whose first long stage takes an hour, and an environment that `make` takes for built."""
    folder = tiny.make(project_copy(tmp_path_factory.mktemp("interrupts") / "world"))
    (folder / "src" / "mmesid" / "stages" / "ingest.py").write_text(STAGE)
    return tiny.with_environment(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, project_copy: Callable[[Path], Path]) -> Path:
    """A checkout with a champion."""
    folder = project_copy(tmp_path_factory.mktemp("served") / "world")
    tiny_world.make_champion(folder)
    return folder


@pytest.fixture
def opened() -> Iterator[Callable[..., Terminal]]:
    """Opens terminals, and closes them."""
    terminals: list[Terminal] = []

    def open_(root: Path, *command: str) -> Terminal:
        terminals.append(Terminal(root, *command))
        return terminals[-1]

    yield open_
    for terminal in terminals:
        terminal.close()


PORTS = {"up": ("--prefect-port", "--mlflow-port"), "serve": ("--port",)}
COMMANDS = {  # and what is on the screen once it is at work
    "repro": (("make", "repro"), "ingest is at work"),
    "retrain": ((sys.executable, "-m", "flows.retrain", "--datasets", tiny.NAME), "ingest is at work"),
    "up": (("mmesid", "up"), "Ctrl-C stops everything."),
    "up, while it starts": (("mmesid", "up"), "prefect answers"),
    "serve": (("mmesid", "serve", tiny_world.DATASET), "Uvicorn running"),
}


LONG = [(name, 2) for name in COMMANDS if name != "repro"]  # a second one is about the same code everywhere


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("repro", 2),
        *((name, 1) for name in COMMANDS),
        *(pytest.param(*cell, marks=pytest.mark.nightly) for cell in LONG),
    ],
)
def test_ctrl_c_returns_the_prompt_with_one_line(
    name: str, times: int, root: Path, served: Path, opened: Callable[..., Terminal], patience: float
) -> None:
    command, ready = COMMANDS[name]
    where = served if name == "serve" else root
    options = [word for option in PORTS.get(name.partition(",")[0], ()) for word in (option, str(ports.free(1)[0]))]
    terminal = opened(where, *command, *options)
    terminal.until(ready)
    before = len(terminal.said())
    for number in range(times):
        time.sleep(0.5 if number else 0)
        terminal.press_ctrl_c()
    limit = (AT_ONCE if times > 1 else LIMIT) * patience
    seconds = terminal.ended(limit + 60)
    time.sleep(0.5)  # for what is still on its way to the screen
    said = terminal.said()[before:].replace("^C", "")
    assert seconds <= limit, f"{seconds:.1f} s: {said}"
    assert "Traceback" not in said, said
    lines = [line for line in said.splitlines() if line.strip() and not NOISE.match(line)]
    assert len([line for line in lines if "stopped" in line]) == 1, said
    assert terminal.process.returncode != 0 or name.startswith(("up", "serve")), said
    assert not list(tiny.processes(where, "ingest"))
    assert not processes.marked({"MMESID_SERVICES": str(where)})
