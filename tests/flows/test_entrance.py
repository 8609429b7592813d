"""The end of a flow that was started by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
# Prefect's own way of taking the signal, without its server; the signal comes where no error gets out.
DEAF = """
import os, signal, time
from flows import entrance
from prefect.utilities.engine import capture_sigterm

class Deaf:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)

def flow():
    with capture_sigterm(), entrance.ended_by_sigterm():
        Deaf()
        time.sleep(60)

entrance.PATIENCE = 1.0
entrance.enter(lambda: None, flow, "stopped")
print("promoted")
"""


@pytest.mark.pipeline
def test_a_signal_that_comes_amid_a_destructor_ends_the_flow(tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n{DEAF}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 130, done.stderr
    assert "promoted" not in done.stdout
    assert done.stderr.splitlines()[-1] == "stopped", done.stderr
