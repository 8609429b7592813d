"""How time and memory of fine-tuning grow: one size varied at a time, each point in a process of its own.

`python -m benchmarks.scaling [--quick] [--output FILE]`. Peak memory is that of one optimizer step above model
and AdamW's moments, gradients counted. In the result a is the base point, b the slowest one.
"""

import statistics
from typing import Any

from benchmarks import measure, memory, steps, training, worlds

NAME = "scaling"
RUNS = 5
BASE = worlds.Size(users=4096, layers=4, width=256, embeddings="small")
AXES: dict[str, tuple[int, ...]] = {
    "length": (5, 10, 20, 50, 100, 200),  # training items of every user, T at least as large
    "targets_per_step": (64, 128, 256, 512, 1024),
    "row_tokens": (128, 256, 512, 1024),
    "items": (1_000, 12_086, 100_000),
    "width": (64, 128, 256, 512),
}
QUICK_AXES: dict[str, tuple[int, ...]] = {"length": (4, 8), "items": (50, 80)}


def main(quick: bool) -> measure.Result:
    """Measure the base point and every point of every axis."""
    if quick:
        return sweep(worlds.QUICK, QUICK_AXES, runs=2)
    return sweep(BASE, AXES, RUNS)


def sweep(base: worlds.Size, axes: dict[str, tuple[int, ...]], runs: int, apart: bool = True) -> measure.Result:
    """Every point once; points that equal the base are not measured again.

    Args:
        base: the point from which one size at a time departs.
        axes: values by field of `worlds.Size`.
        runs: optimizer steps that are timed at each point.
        apart: each point in a process of its own; without, memory means little.
    """

    def measured(size: worlds.Size) -> dict[str, Any]:
        if apart:
            return memory.isolated("benchmarks.scaling:point", size=size._asdict(), runs=runs)
        return point(size._asdict(), runs)

    origin = measured(base)
    tables: dict[str, list[dict[str, Any]]] = {}
    for axis, values in axes.items():
        sizes = {value: at(base, axis, value) for value in values}
        tables[axis] = [
            {"value": value, **(origin if size == base else measured(size))} for value, size in sizes.items()
        ]
    slowest = min((row for rows in tables.values() for row in rows), key=lambda row: float(row["targets_per_second"]))
    return {
        "name": NAME,
        "ratio": origin["targets_per_second"] / slowest["targets_per_second"],
        "a": origin["targets_per_second"],
        "b": slowest["targets_per_second"],
        "a_is": "the base point",
        "b_is": "the slowest point",
        "unit": "targets/s",
        "runs": runs,
        "machine": measure.machine(),
        "base": {**base._asdict(), **origin},
        "tables": tables,
    }


def at(base: worlds.Size, axis: str, value: int) -> worlds.Size:
    """The base with one size changed; a longer history is never cut into windows."""
    if axis == "length":
        return base._replace(length=value, history_length=max(base.history_length, value))
    return worlds.Size(**{**base._asdict(), axis: value})


def point(size: dict[str, Any], runs: int) -> dict[str, float]:
    """Targets a second (median of `runs` steps), the spread, and the peak of a step in MiB."""
    world = worlds.build(worlds.Size(**size))
    side = training.packed_side(world, 1)
    rates = [done / seconds for done, seconds in training.timed_steps(side, runs)]
    first = next(world.steps())
    tokens = steps.packed_tokens(world.model, first, world.settings.row_tokens)
    for parameter in world.model.parameters():
        parameter.grad = None
    return {
        "targets_per_second": statistics.median(rates),
        "lowest": min(rates),
        "highest": max(rates),
        "peak_mib": memory.peak_of(lambda: side(runs + 1)),
        "tokens_per_target": tokens / sum(len(window.labels) for window in first),
        "targets": sum(len(window.labels) for window in first),
    }


if __name__ == "__main__":
    measure.command_line(NAME, main, __doc__)
