"""Targets a second of fine-tuning: packed rows against padded batches of one prefix per row, all else equal.

`python -m benchmarks.packed_vs_padded [--quick] [--output FILE]`. Both sides take the same windows in the same turn,
compute the same loss with the same cheap head, and end the turn with a step of the same optimizer.
"""

from itertools import islice
from statistics import mean

from benchmarks import measure, steps, training, worlds

NAME = "packed_vs_padded"
RUNS, STEPS = 7, 2  # repetitions, optimizer steps in each


def main(quick: bool) -> measure.Result:
    """Build the world and compare."""
    size = worlds.QUICK if quick else worlds.Size()
    return compare(size, runs=2 if quick else RUNS, steps_each=1 if quick else STEPS)


def compare(size: worlds.Size, runs: int, steps_each: int) -> measure.Result:
    """Packed against padded, targets a second.

    Args:
        size: of the world.
        runs: repetitions.
        steps_each: optimizer steps of a repetition.
    """
    world = worlds.build(size)
    sides = [training.packed_side(world, steps_each), training.padded_side(world, steps_each)]
    rates = measure.interleave(sides, runs)
    some = list(islice(world.steps(), runs))
    targets = sum(len(window.labels) for windows in some for window in windows)
    tokens = [
        sum(steps.packed_tokens(world.model, windows, size.row_tokens) for windows in some) / targets,
        sum(steps.padded_tokens(world.model, windows) for windows in some) / targets,
    ]
    return measure.comparison(
        NAME,
        "targets/s",
        rates,
        a_is="packed rows",
        b_is=f"one prefix per row, sorted by length, {steps.ROWS} rows a padded batch, same head",
        targets_per_step=mean(sum(len(window.labels) for window in windows) for windows in some),
        steps_per_run=steps_each,
        tokens_per_target={"a": tokens[0], "b": tokens[1]},
        **training.facts(world, rates),
    )


if __name__ == "__main__":
    measure.command_line(NAME, main, __doc__)
