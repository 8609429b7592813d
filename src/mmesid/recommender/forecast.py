"""What fine-tuning will cost, from one trial before it: time and memory of a token, and so of an epoch."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from mmesid.errors import ConfigError
from mmesid.recommender.batching import MicroBatch, trial_batch
from mmesid.recommender.training import Trainer

LONGEST = 10.0  # seconds a whole micro-batch may take, by what a small one took, to be tried too
USABLE = 0.6  # of the memory that is free, for activations: the rest of a step needs some too
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Forecast(NamedTuple):
    """Of the epochs that are left."""

    seconds_per_epoch: float
    epochs: int  # left, at most
    bytes_per_token: float  # activations of forward and backward; 0 where they cannot be measured
    batch_tokens: int  # of a forward pass, that fit

    @property
    def hours(self) -> float:
        """Of all epochs, if none is saved by stopping early."""
        return self.seconds_per_epoch * self.epochs / 3600

    def describe(self) -> str:
        """One line for a person."""
        gigabytes = self.bytes_per_token * self.batch_tokens / 1e9
        memory = f", {gigabytes:.1f} GB for {self.batch_tokens:,} tokens at a time" if gigabytes else ""
        epoch, whole = _duration(self.seconds_per_epoch), _duration(self.hours * 3600)
        return f"about {epoch} an epoch, {whole} for {self.epochs} epochs at most{memory}"


def foretell(trainer: Trainer, clock: Callable[[], float]) -> Forecast:
    """Run one small micro-batch forward and backward, twice, and a whole one where that ends in seconds: what is done
    once for all of its targets, such as the vectors of all items, tells in a small one as if it were theirs. Gradients
    are thrown away.

    Args:
        trainer: before `fit`, resumed or not; its weights, its state and its draws stay as they are.
        clock: tells seconds.
    """
    trial, settings, processes = trainer.trial, trainer.settings, trainer.accelerator.num_processes
    trainer.model.train()
    device = trainer.model.device
    before = _memory(device)
    _run(trainer, trial)
    grown = max(0, _peak(device) - before)
    seconds = _time(trainer, trial, clock)
    tokens = len(trial.rows) * settings.row_tokens
    fit = _free(device) * USABLE / (grown / tokens) if grown else float("inf")
    batch_tokens = int(min(settings.batch_tokens, max(settings.row_tokens, fit)))
    whole = trial_batch(
        trainer.windows, settings, trainer.model.blueprint.prompt, trainer.seed, batch_tokens, processes
    )
    longest = seconds / len(trial.rows) * len(whole.rows)
    if _agreed(trainer, len(whole.rows) > len(trial.rows) and longest <= LONGEST and settings.batch_tokens <= fit):
        trial, seconds = whole, _time(trainer, whole, clock)
    targets = sum(len(window.labels) for rows in trial.rows for window in rows)
    of_epoch = sum(len(window.labels) for window in trainer.windows)
    if (cap := settings.max_targets_per_epoch) is not None:
        of_epoch = min(of_epoch, cap)
    left = settings.epochs - trainer.state.epoch
    return Forecast(seconds / targets * of_epoch / processes, left, grown / tokens, batch_tokens)


def check_hours(forecast: Forecast, max_hours: float | None) -> None:
    """Stop before anything is spent on what cannot end in time.

    Raises:
        ConfigError: it takes longer than `max_hours`.
    """
    if max_hours is not None and forecast.hours > max_hours:
        raise ConfigError(
            f"finetune.max_hours is {max_hours:g}, but a trial step says {forecast.describe()}; lower finetune.epochs "
            "or finetune.max_targets_per_epoch, take fewer init_codes.layers or a smaller init_codes.backbone, or "
            "raise finetune.max_hours"
        )


def _run(trainer: Trainer, batch: MicroBatch) -> None:
    distributed = trainer.accelerator.num_processes > 1
    with trainer.accelerator.no_sync(trainer.wrapped) if distributed else nullcontext():
        trainer.accelerator.backward(trainer.loss(batch))
    trainer.optimizer.zero_grad(set_to_none=True)


def _time(trainer: Trainer, batch: MicroBatch, clock: Callable[[], float]) -> float:
    """Seconds of a micro-batch."""
    _wait(trainer.model.device)
    began = clock()
    _run(trainer, batch)
    _wait(trainer.model.device)
    return clock() - began


def _wait(device: torch.device) -> None:
    """Until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _agreed(trainer: Trainer, willing: bool) -> bool:
    """Whether all processes are: each pass waits for every one of them."""
    return bool(trainer.accelerator.reduce(torch.tensor(float(willing), device=trainer.model.device), "mean") == 1)


def _memory(device: torch.device) -> int:
    """Bytes that are in use, and the start of `_peak`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        _CLEAR.write_text("5")  # VmHWM starts anew
    except OSError:
        return 2**62  # then the peak is never above it
    return int(psutil.Process().memory_info().rss)


def _peak(device: torch.device) -> int:
    """Most bytes in use since `_memory`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
