"""Peak memory of a piece of work, in a process of its own: what ran before must not count. Linux.

`python -m benchmarks.memory MODULE:FUNCTION JSON` is the child: it calls the function and prints what it returns.
"""

import ctypes
import gc
import importlib
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_MIB = 2**20


def isolated(target: str, **arguments: object) -> dict[str, Any]:
    """Call a function in a fresh process.

    Args:
        target: `module:function`; the function returns values that JSON can hold.
        arguments: its keyword arguments, values that JSON can hold.

    Raises:
        RuntimeError: the child failed; the end of its error output is in the message.
    """
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "benchmarks.memory", target, json.dumps(arguments)]
    child = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    if child.returncode:
        raise RuntimeError(f"{target} ended with status {child.returncode}:\n{child.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return found


def peak_of(work: Callable[[], object]) -> float:
    """MiB that `work` takes at its peak above what the process held before.

    Where the kernel does not let a process reset its own high-water mark, the mark of everything before stands in, so
    that the number can only be too small.
    """
    settle()
    before = resident() if _reset_peak() else peak()
    work()
    return max(0.0, peak() - before)


def peak() -> float:
    """Largest resident set of this process so far, MiB."""
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident() -> float:
    """Resident set of this process now, MiB."""
    return _status("VmRSS") or peak()


def settle() -> None:
    """Give freed memory back to the system, so that it does not hide what comes next."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)


def _status(field: str) -> float | None:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 / _MIB if found else None


def _reset_peak() -> bool:
    """Let the high-water mark begin anew; False where that is not possible."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _serve() -> None:
    module, function = sys.argv[1].split(":")
    found = getattr(importlib.import_module(module), function)(**json.loads(sys.argv[2]))
    sys.stdout.write(f"\n{json.dumps(found)}\n")


if __name__ == "__main__":
    _serve()
