"""Memory and time of one training step against the number of items: plain, chunked and sampled loss.

`python -m benchmarks.loss_memory [--quick] [--output FILE]`. A step is fine-tuning's own: 256 targets, backbone of 4
layers and width 256, forward and backward pass, gradients, AdamW. Its peak is what it takes above the model and AdamW's
moments. In the result a is the plain loss, b the chunked one, both at the largest catalogue.
"""

import statistics
from typing import Any

from benchmarks import measure, memory, training, worlds

NAME = "loss_memory"
RUNS = 3
ITEMS, QUICK_ITEMS = (12_086, 100_000, 1_000_000), (80, 200)
PLENTY = 2**20  # MiB: the plain loss whatever it takes
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"loss": "exact", "loss_memory": PLENTY},
    "chunked": {"loss": "exact", "loss_memory": 256},
    "sampled": {"loss": "sampled"},
}


def main(quick: bool) -> measure.Result:
    """Measure every way at every number of items."""
    base = worlds.QUICK if quick else worlds.Size(users=2000, targets_per_step=256, embeddings="small")
    return compare(base, QUICK_ITEMS if quick else ITEMS, 2 if quick else RUNS)


def compare(base: worlds.Size, items: tuple[int, ...], runs: int, apart: bool = True) -> measure.Result:
    """Every way at every number of items.

    Args:
        base: all sizes but the number of items and the loss.
        items: numbers of items.
        runs: steps that are timed at each point.
        apart: each point in a process of its own; without, memory means little.
    """
    rows = []
    for count in items:
        for way, options in WAYS.items():
            size = base._replace(items=count, **options)._asdict()
            found = (
                memory.isolated("benchmarks.loss_memory:point", size=size, runs=runs) if apart else point(size, runs)
            )
            rows.append({"items": count, "way": way, **found})
    plain, chunked = ([row["peak_mib"] for row in rows if row["way"] == way][-1] for way in ("plain", "chunked"))
    return {
        "name": NAME,
        "ratio": plain / chunked if chunked else 0.0,
        "a": plain,
        "b": chunked,
        "a_is": f"plain loss, {items[-1]:,} items",
        "b_is": f"in chunks of at most {WAYS['chunked']['loss_memory']} MiB",
        "unit": "MiB",
        "runs": runs,
        "machine": measure.machine(),
        "targets_per_step": base.targets_per_step,
        "rows": rows,
    }


def point(size: dict[str, Any], runs: int) -> dict[str, float]:
    """Seconds of a step (median of `runs`) and its peak in MiB."""
    world = worlds.build(worlds.Size(**size))
    side = training.packed_side(world, 1)
    seconds = [seconds for _, seconds in training.timed_steps(side, runs)]
    return {"seconds": statistics.median(seconds), "peak_mib": memory.peak_of(lambda: side(runs + 1))}


if __name__ == "__main__":
    measure.command_line(NAME, main, __doc__)
