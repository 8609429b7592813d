"""What every benchmark shares: sides that take turns, medians and their spread, the machine's note, the result's file.

A result is one JSON object: name, ratio (median of a over median of b), a, b, unit, runs, machine; more keys are
allowed. It holds no date and no path, so that equal measurements are equal files.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmesid.artifacts.files import save_json

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
KEYS = ("name", "ratio", "a", "b", "unit", "runs", "machine")

Side = Callable[[int], float]
"""Does a piece of work, told the number of its turn from 0 (warm-up included); returns how many units it did."""

Result = dict[str, Any]


def interleave(
    sides: Sequence[Side], runs: int, warmup: int = 1, clock: Callable[[], float] = time.perf_counter
) -> list[list[float]]:
    """Let the sides take turns, A B B A A B ..., so that a machine that slows down slows all of them.

    Args:
        sides: two or more.
        runs: repetitions that count.
        warmup: turns before them that do not.
        clock: seconds.

    Returns:
        For each side its units per second, one number for each repetition.

    Raises:
        ValueError: fewer than two sides or no repetition.
    """
    if len(sides) < 2 or runs < 1:
        raise ValueError(f"expected two sides or more and one repetition or more, got {len(sides)} and {runs}")
    rates: list[list[float]] = [[] for _ in sides]
    for turn in range(warmup + runs):
        order = range(len(sides)) if turn % 2 == 0 else reversed(range(len(sides)))
        for number in order:
            start = clock()
            done = sides[number](turn)
            seconds = clock() - start
            if turn >= warmup:
                rates[number].append(done / seconds)
    return rates


def comparison(name: str, unit: str, rates: Sequence[Sequence[float]], a_is: str, b_is: str, **more: object) -> Result:
    """The result of two sides.

    Args:
        name: of the benchmark, and of its file.
        unit: of the rates.
        rates: of a and b by repetition, as `interleave` gives them.
        a_is: what a does, in words.
        b_is: what b does.
        more: further keys.

    Returns:
        Medians, their ratio, and as `ratio_low` and `ratio_high` the smallest and largest ratio of one repetition.
    """
    a, b = (statistics.median(side) for side in rates[:2])
    single = [first / second for first, second in zip(*rates[:2], strict=True)]
    return {
        "name": name,
        "ratio": a / b,
        "ratio_low": min(single),
        "ratio_high": max(single),
        "a": a,
        "b": b,
        "a_is": a_is,
        "b_is": b_is,
        "a_runs": list(rates[0]),
        "b_runs": list(rates[1]),
        "unit": unit,
        "runs": len(single),
        "machine": machine(),
        **more,
    }


def machine() -> dict[str, object]:
    """What a time depends on beside the code: processor, cores, threads, versions."""
    import torch
    import transformers

    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": ".".join(map(str, sys.version_info[:2])),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def rounded(value: Any, digits: int = 4) -> Any:
    """The same value with every float cut to `digits` significant digits; more would only be noise."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, Mapping):
        return {key: rounded(part, digits) for key, part in value.items()}
    return [rounded(part, digits) for part in value] if isinstance(value, list | tuple) else value


def write(result: Result, path: Path) -> None:
    """Write a result, whole or not at all.

    Raises:
        ValueError: a key of `KEYS` is missing.
    """
    missing = [key for key in KEYS if key not in result]
    if missing:
        raise ValueError(f"result {result.get('name')!r} lacks {', '.join(missing)}")
    save_json(path, rounded(result))


def command_line(
    name: str, measure: Callable[[bool], Result], words: str | None, given: Sequence[str] | None = None
) -> None:
    """`python -m benchmarks.NAME [--quick] [--output FILE]`: measure, print, write `results/NAME.json`.

    Args:
        name: of the benchmark.
        measure: called with whether to be quick.
        words: the help text.
        given: arguments, those of the process by default.
    """
    parser = argparse.ArgumentParser(prog=f"benchmarks.{name}", description=words)
    add_options(parser)
    options = parser.parse_args(given)
    finish(measure(options.quick), options)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every benchmark has."""
    parser.add_argument("--quick", action="store_true", help="tiny sizes, two repetitions; only shows that it runs")
    parser.add_argument("--output", type=Path, help="file to write; default results/NAME.json, with --quick none")


def finish(result: Result, options: argparse.Namespace) -> None:
    """Print a result, and write it where the options say."""
    import json

    if options.output or not options.quick:
        write(result, options.output or RESULTS / f"{result['name']}.json")
    sys.stdout.write(json.dumps(rounded(result), indent=2) + "\n")


def _cpu_model() -> str:
    """The processor's name: from Linux where it tells, else what Python knows."""
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
