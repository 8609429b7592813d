"""Runs one stage as its command would and notes where its time went: the child of `benchmarks.stages`.

`python -P benchmarks/stage_child.py STAGE [DATASET]`, in the project's folder. The environment's BENCHMARK_REPORT names
the JSON file to write, BENCHMARK_SPAWNED the monotonic clock at which the parent started this process. Seconds are
exclusive: an import inside a load counts as import alone. Only the main thread is watched, and no other process.
"""

import builtins
import importlib
import json
import os
import pkgutil
import re
import runpy
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

BORN = time.monotonic()
IMPORT, ARTIFACTS, COMPUTE = "import", "artifacts", "compute"


class Ledger:
    """Adds up exclusive seconds by category.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._clock = clock
        self._open: list[str] = []  # categories under way, the outermost first
        self._inner = [0.0]  # seconds of each that belong to others

    def timed(self, category: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its time booked under `category`."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if (self._open and self._open[-1] == category) or threading.current_thread() is not threading.main_thread():
                return function(*args, **kwargs)
            self._open.append(category)
            self._inner.append(0.0)
            start = self._clock()
            try:
                return function(*args, **kwargs)
            finally:
                whole = self._clock() - start
                self._open.pop()
                self.seconds[category] += whole - self._inner.pop()
                self._inner[-1] += whole

        return wrapper


def watch(ledger: Ledger) -> None:
    """Book imports, the loads and saves of `mmesid.artifacts`, and the stage's `run`."""
    builtins.__import__ = ledger.timed(IMPORT, builtins.__import__)
    importlib.import_module = ledger.timed(IMPORT, importlib.import_module)
    for found in pkgutil.iter_modules(importlib.import_module("mmesid.artifacts").__path__, "mmesid.artifacts."):
        module = importlib.import_module(found.name)
        for name in vars(module).copy():
            if name.startswith(("load_", "save_")):
                setattr(module, name, ledger.timed(ARTIFACTS, getattr(module, name)))
    entry = importlib.import_module("mmesid.stages.entry")
    for name in ("main", "main_untracked", "main_all"):
        setattr(entry, name, _with_timed_run(ledger, getattr(entry, name)))


def _with_timed_run(ledger: Ledger, main: Callable[..., None]) -> Callable[..., None]:
    return lambda run: main(ledger.timed(COMPUTE, run))


def main() -> None:
    """Run the stage, write the report, whatever happens."""
    stage = sys.argv.pop(1)
    ledger = Ledger()
    watch(ledger)
    try:
        runpy.run_module(f"mmesid.stages.{stage}", run_name="__main__", alter_sys=True)
    finally:
        times = os.times()
        report = {
            "interpreter": BORN - float(os.environ["BENCHMARK_SPAWNED"]),
            **{category: ledger.seconds[category] for category in (IMPORT, ARTIFACTS, COMPUTE)},
            "cpu": times.user + times.system,
            "peak_mib": peak(),
        }
        Path(os.environ["BENCHMARK_REPORT"]).write_text(json.dumps(report), encoding="utf-8")


def peak() -> float:
    """Largest resident set of this process, MiB; NaN where the system does not tell."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text(encoding="utf-8")) if status.exists() else None
    return int(found[1]) / 1024 if found else float("nan")


if __name__ == "__main__":
    main()
