"""The pipeline on a tiny world after every kind of death: nothing half-written, and the same results."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from tests import tiny
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc"),
]
ROOT = Path(__file__).parents[1]
STAGES = list(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])


def test_a_run_killed_in_every_stage_ends_with_the_same_results(
    trained: tiny.Trained, tmp_path: Path, project_copy: Callable[[Path], Path]
) -> None:
    root = tiny.make(project_copy(tmp_path / "killed"))
    for number, stage in enumerate(STAGES):
        target = stage if stage == "report" else f"{stage}@{tiny.NAME}"
        after, again = trained.seconds[stage] / 2, ()
        while not interrupt(root, stage, (*again, target), after, by_hand=number % 2 == 0):
            after, again = after / 2, ("--single-item", "--force")  # the machine was faster this time, the stage over
            assert after > 0.01, f"{stage} cannot be interrupted"
    tiny.run(root, "mmesid", "mend")
    tiny.repro(root)
    assert tiny.results(root) == tiny.results(trained.root)


def test_a_stage_whose_parent_dies_while_it_imports_dies_too(
    tmp_path: Path, project_copy: Callable[[Path], Path]
) -> None:
    root = tiny.make(project_copy(tmp_path / "orphan"))
    code = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'mmesid.stages.finetune', 'tiny'])"
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, env=tiny.environment(root)) as parent:
        wait_until(lambda: list(tiny.processes(root, "finetune")), 60)
        time.sleep(0.5)  # of the ten seconds that the imports take
        parent.kill()
    wait_until(lambda: not list(tiny.processes(root, "finetune")), 2)


def interrupt(root: Path, stage: str, what: tuple[str, ...], after: float, by_hand: bool) -> bool:
    """Run up to a stage and end it in its middle: Ctrl-C to all of its processes, or SIGKILL to dvc alone.

    Returns:
        Whether the stage was still at work.
    """
    tiny.run(root, "mmesid", "mend")
    with subprocess.Popen(
        ["dvc", "repro", *what],
        cwd=root,
        env=tiny.environment(root),
        start_new_session=True,
        preexec_fn=listen_to_interrupts,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as dvc:
        wait_until(lambda: list(tiny.processes(root, stage)) or dvc.poll() is not None, 300)
        time.sleep(after)
        alive = bool(list(tiny.processes(root, stage)))
        if by_hand:
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(dvc.pid, signal.SIGINT)
        else:
            dvc.kill()
        dvc.wait(60)
    wait_until(lambda: not list(tiny.processes(root, stage)), 20)
    return alive and dvc.returncode != 0  # a quick stage may end between the look and the signal


def listen_to_interrupts() -> None:
    """A job in the background of a shell ignores Ctrl-C, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
