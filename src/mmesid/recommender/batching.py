"""Which windows an optimizer step takes, and how its rows are dealt to processes and micro-batches."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.windows import Window
from mmesid.config import Finetune, sizes
from mmesid.recommender.packing import first_fit, window_tokens
from mmesid.recommender.prompt import Prompt

TRIAL_TOKENS = 512  # of a trial, about


class MicroBatch(NamedTuple):
    """Rows of one forward pass."""

    rows: list[list[Window]]
    counts: bool  # False: only keeps the processes in step, its loss is multiplied by zero


def targets_per_step(windows: Sequence[Window], settings: Finetune) -> int:
    """As set, else as many as fit the size of an epoch."""
    return settings.targets_per_step or sizes.step_targets(sum(len(window.labels) for window in windows))


def plan_epoch(windows: Sequence[Window], settings: Finetune, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Which windows each optimizer step takes: shuffled, whole, each step about as many targets.

    Args:
        windows: all training windows.
        settings: `targets_per_step` and the cap `max_targets_per_epoch`.
        seed: with `epoch` it fixes the order.
        epoch: from 0.
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(windows))
    ends = np.cumsum([len(windows[window].labels) for window in order])
    if settings.max_targets_per_epoch is not None:
        order = order[: int(np.searchsorted(ends, settings.max_targets_per_epoch)) + 1]
    steps = (ends[: len(order)] - 1) // targets_per_step(windows, settings)
    return list(np.split(order, np.flatnonzero(np.diff(steps)) + 1))


def trial_batch(
    windows: Sequence[Window],
    settings: Finetune,
    prompt: Prompt,
    seed: int,
    batch_tokens: int = TRIAL_TOKENS,
    processes: int = 1,
) -> MicroBatch:
    """The first micro-batch of the first step, the same in every process; by default a few rows of it."""
    first = [windows[window] for window in plan_epoch(windows, settings, seed, 0)[0]]
    return deal(first, prompt, settings.row_tokens, max(settings.row_tokens, batch_tokens), processes)[0][0]


def deal(
    windows: Sequence[Window], prompt: Prompt, row_tokens: int, batch_tokens: int, processes: int
) -> list[list[MicroBatch]]:
    """Pack a step's windows into rows and deal the rows out, about equal in tokens.

    Every process gets the same number of micro-batches, at least one, because some ways to spread a model wait for all
    processes in every forward pass. A process for which no row is left repeats one that does not count.

    Args:
        windows: of one optimizer step, over all processes.
        prompt: the tokens that every row starts with.
        row_tokens: tokens of a row, at most.
        batch_tokens: tokens of a micro-batch, at most (one longer row makes a longer micro-batch).
        processes: P.

    Returns:
        The micro-batches of each process.
    """
    rows = [[windows[window] for window in row] for row in first_fit(windows, prompt, row_tokens)]
    sizes = [len(prompt.before) + sum(window_tokens(window, prompt) for window in row) for row in rows]
    per_batch = max(1, batch_tokens // max(sizes))
    count = -(-len(rows) // (processes * per_batch))
    slots: list[list[list[Window]]] = [[] for _ in range(processes * count)]
    tokens = np.zeros(len(slots), dtype=np.int64)
    for row in np.argsort([-size for size in sizes], kind="stable"):
        open_slots = [slot for slot in range(len(slots)) if len(slots[slot]) < per_batch]
        slot = min(open_slots, key=lambda slot: (tokens[slot], slot))
        slots[slot].append(rows[row])
        tokens[slot] += sizes[row]
    batches = [MicroBatch(slot or [rows[0]], bool(slot)) for slot in slots]
    return [batches[process::processes] for process in range(processes)]
