"""A stage's child process: its lines, its error, and its end when the parent ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmesid.pipeline import stage as stages
from mmesid.pipeline.stage import StageError, explain, run_dvc_stage

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose `dvc` is a script of the test's own: starting the real one takes seconds."""
    (tmp_path / "dvc.py").write_text("import runpy\nrunpy.run_path('body.py', run_name='__main__')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_lines_are_passed_on_and_the_environment_is_added(dvc: Path) -> None:
    (dvc / "body.py").write_text("import os, sys\nprint(sys.argv[1:], os.environ['MMESID_EXECUTION'])\nprint()\n")
    lines: list[str] = []
    run_dvc_stage("train@a", dvc, {"MMESID_EXECUTION": "x"}, True, lines.append)
    assert lines == ["['repro', 'train@a', '--single-item', '--force'] x"]


def test_a_failure_repeats_the_stages_own_words(dvc: Path) -> None:
    (dvc / "body.py").write_text("import sys\nprint('Running stage x')\nprint('row 3 is odd')\nsys.exit(7)\n")
    with pytest.raises(StageError, match=r"^train@a failed with status 7:\nrow 3 is odd$"):
        run_dvc_stage("train@a", dvc, {}, False, lambda line: None)


def test_dvcs_wrapping_is_left_out() -> None:
    tail = ["Running stage 'a':", "> python -m x", "the reason", "ERROR: failed to reproduce 'a': exited with 1"]
    assert explain("a", 1, tail) == "a failed with status 1:\nthe reason"


def test_an_interrupted_flow_ends_its_stage(dvc: Path) -> None:
    (dvc / "body.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    seen: list[int] = []

    def interrupt(line: str) -> None:
        seen.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_dvc_stage("train@a", dvc, {}, False, interrupt)
    assert not alive(seen[0])


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for the parent's death")
def test_a_killed_flow_leaves_no_stage(dvc: Path) -> None:
    (dvc / "body.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    code = (
        "from pathlib import Path; from mmesid.pipeline.stage import run_dvc_stage;"
        f"run_dvc_stage('a', Path({str(dvc)!r}), {{}}, False, lambda line: print(line, flush=True))"
    )
    environment = {**os.environ, "PYTHONPATH": f"{dvc}{os.pathsep}{PROJECT}"}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) as flow:
        assert flow.stdout is not None
        child = int(flow.stdout.readline())
        flow.send_signal(signal.SIGKILL)
        flow.wait()
        for _ in range(50):
            if not alive(child):
                break
            time.sleep(0.1)
    assert not alive(child)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_tail_of_an_error_is_bounded(dvc: Path) -> None:
    (dvc / "body.py").write_text("import sys\nfor i in range(500): print(i)\nsys.exit(1)\n")
    with pytest.raises(StageError) as caught:
        run_dvc_stage("a", dvc, {}, False, lambda line: None)
    assert len(str(caught.value).splitlines()) == stages.TAIL + 1
