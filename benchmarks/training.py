"""The sides of the training comparisons: ways to do optimizer steps on one world, and what is worth noting of it."""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks import steps, worlds
from benchmarks.measure import Side
from mmesid.artifacts.windows import Window
from mmesid.recommender.training import Trainer

Step = Callable[[Sequence[Window]], object]
"""One optimizer step on the given windows."""


def packed_side(world: worlds.World, steps_each: int) -> Side:
    """`steps_each` optimizer steps, packed: fine-tuning's own."""
    return _side(world, world.trainer.step, steps_each)


def padded_side(world: worlds.World, steps_each: int) -> Side:
    """`steps_each` optimizer steps, one prefix per row of padded batches."""

    def step(windows: Sequence[Window]) -> None:
        steps.padded(world.model, windows)
        move(world.trainer)

    return _side(world, step, steps_each)


def authors_side(world: worlds.World, targets: int) -> Side:
    """One optimizer step after about `targets` targets, the authors' way."""

    def step(windows: Sequence[Window]) -> None:
        steps.authors(world.model, windows)
        move(world.trainer)

    return _side(world, step, 1, targets)


def move(trainer: Trainer) -> None:
    """Clip the gradients and move the parameters, as fine-tuning does after the last of a step's forward passes."""
    trainer.accelerator.clip_grad_norm_(trainer.parameters.values(), 1.0)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad(set_to_none=True)


def optimizer_seconds(world: worlds.World, runs: int = 5) -> float:
    """Median seconds of clipping and the optimizer's step alone."""
    seconds = []
    for windows in itertools.islice(world.steps(), runs + 1):  # the first makes the moments
        steps.packed(world.model, windows, world.settings.row_tokens)
        start = time.perf_counter()
        move(world.trainer)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def facts(world: worlds.World, rates: Sequence[Sequence[float]]) -> dict[str, object]:
    """Sizes of the world, and what an epoch of it takes at the measured rates."""
    medians = [statistics.median(side) for side in rates]
    blueprint = world.model.blueprint
    return {
        "targets_per_epoch": world.targets(),
        "epoch_seconds": {name: world.targets() / rate for name, rate in zip("ab", medians, strict=True)},
        "prompt_tokens": [len(blueprint.prompt.before), len(blueprint.prompt.after)],
        "score_modalities": list(blueprint.score_modalities),
        "adapter": blueprint.adapter,
        "size": world.size._asdict(),
    }


def timed_steps(side: Side, runs: int) -> list[tuple[float, float]]:
    """Units and seconds of turns 1 to `runs`; turn 0 comes first, untimed, and makes AdamW's moments."""
    side(0)
    found = []
    for turn in range(1, runs + 1):
        start = time.perf_counter()
        done = side(turn)
        found.append((done, time.perf_counter() - start))
    return found


def _side(world: worlds.World, step: Step, steps_each: int, targets: int | None = None) -> Side:
    """Turn t takes the t-th `steps_each` steps of the epoch (from its start again at its end); units are targets."""
    plan = list(world.steps())

    def turn(number: int) -> float:
        done = 0
        for position in range(number * steps_each, (number + 1) * steps_each):
            windows = first_targets(plan[position % len(plan)], targets)
            step(windows)
            done += sum(len(window.labels) for window in windows)
        return float(done)

    return turn


def first_targets(windows: Sequence[Window], targets: int | None) -> list[Window]:
    """Whole windows from the start that hold `targets` targets or a few more; None takes all."""
    if targets is None:
        return list(windows)
    before = itertools.accumulate((len(window.labels) for window in windows), initial=0)
    return [window for window, taken in zip(windows, before, strict=False) if taken < targets]
