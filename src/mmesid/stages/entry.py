"""What every stage's entry shares: `python -m mmesid.stages.<stage> <dataset>`.

It dies with its parent, seeds every generator, turns a person's mistakes into one clear message, and journals what the
stage logs. A stage itself is a function `run(config, store, log)`.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from mmesid import config as configuration
from mmesid import tracking
from mmesid.artifacts import Store
from mmesid.config import Config
from mmesid.errors import MmesidError

Log = Callable[[dict[str, float], int], None]
Run = Callable[[Config, Store, "tracking.StageRun"], None]

_PR_SET_PDEATHSIG = 1


def main(run: Run) -> None:
    """Run a stage for the dataset named on the command line and leave with its exit status."""
    _die_with_parent()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    stage = Path(sys.argv[0]).stem
    if len(sys.argv) != 2:
        sys.exit(f"usage: python -m mmesid.stages.{stage} DATASET")
    try:
        config = configuration.load(sys.argv[1])
        store = Store(config.dataset)
        with tracking.stage_run(stage, config) as log:
            run(config, store, log)
    except MmesidError as error:
        sys.exit(f"{stage}@{sys.argv[1]}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when dvc dies, so that no orphan goes on writing. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def device() -> str:
    """`MMESID_DEVICE` if set, else cuda where there is one, else cpu."""
    import torch

    return os.environ.get("MMESID_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
