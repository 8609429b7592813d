"""Targets a second of fine-tuning: packed rows against the MME-SID authors' way, written cleanly.

`python -m benchmarks.packed_vs_authors [--quick] [--output FILE]`. The authors' way is one forward pass per (user,
prefix), gradients accumulated over a step, and the whole catalogue projected at every one of them. Loss, model,
modalities and optimizer are the same. It is timed on fewer targets, since it is far slower; the result says how many.
"""

from benchmarks import measure, training, worlds

NAME = "packed_vs_authors"
RUNS, STEPS, TARGETS = 5, 4, 64  # repetitions; packed steps and the authors' targets in each


def main(quick: bool) -> measure.Result:
    """Build the world and compare."""
    size = worlds.QUICK if quick else worlds.Size()
    return compare(size, runs=2 if quick else RUNS, steps_each=1 if quick else STEPS, targets=8 if quick else TARGETS)


def compare(size: worlds.Size, runs: int, steps_each: int, targets: int) -> measure.Result:
    """Packed against the authors' way, targets a second.

    Args:
        size: of the world.
        runs: repetitions.
        steps_each: packed optimizer steps of a repetition.
        targets: about how many targets the authors' way takes in a repetition, with one optimizer step at their end.
    """
    world = worlds.build(size)
    sides = [training.packed_side(world, steps_each), training.authors_side(world, targets)]
    rates = measure.interleave(sides, runs)
    optimizer_seconds = training.optimizer_seconds(world)
    return measure.comparison(
        NAME,
        "targets/s",
        rates,
        a_is="packed rows",
        b_is="one prefix at a time, the catalogue projected for each",
        targets_per_step={"a": size.targets_per_step, "b": targets},
        steps_per_run={"a": steps_each, "b": 1},
        note=(
            f"b is timed on about {targets} targets a repetition, with one optimizer step after them instead of one "
            f"after {size.targets_per_step}; that costs b the share b_optimizer_share of its time, or less"
        ),
        b_optimizer_share=optimizer_seconds * sum(rates[1]) / len(rates[1]) / targets,
        **training.facts(world, rates),
    )


if __name__ == "__main__":
    measure.command_line(NAME, main, __doc__)
