"""One thin entry per DVC stage: read parameters, load, call one room, save, log.

What must happen before a stage imports anything heavy stands here, and happens only in a process that runs a stage.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _become_stage() -> None:
    """Die with dvc, so that no orphan goes on writing (Linux); let waiting threads sleep.

    Threads that spin would double the time of two processes on the same cores: another stage, or the one that sends
    what is logged. OpenMP reads its policy when torch is loaded.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


if any(argument.startswith(f"{__name__}.") for argument in sys.orig_argv):
    _become_stage()
