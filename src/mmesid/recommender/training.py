"""Fine-tuning: packed rows, a fixed number of targets per optimizer step, best checkpoint by validation nDCG@10.

Step s of epoch e draws its windows and its dropout from (seed, e, s) alone, so a resumed run equals an undisturbed one.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mmesid.artifacts import History, Sequences
from mmesid.config import Finetune
from mmesid.evaluation.metrics import summarize
from mmesid.evaluation.ranking import checkpoint_users
from mmesid.recommender.adapter import ADAPTERS, trainable
from mmesid.recommender.inference import rank
from mmesid.recommender.model import Recommender
from mmesid.recommender.packing import pack
from mmesid.recommender.windows import Window, training_windows

Log = Callable[[dict[str, float], int], None]
_VALIDATION_BATCH = 256
_METRIC = "ndcg_at_10"


class TrainerState(NamedTuple):
    """Where fine-tuning stands; saved as a whole, it continues exactly."""

    epoch: int  # the epoch under way, from 0
    step: int  # steps of this epoch that are done
    total: int  # optimizer steps since the start
    best: float  # best validation nDCG@10 so far
    stale: int  # epochs since then
    history: History
    tensors: dict[str, Tensor]  # parameters ("model."), best parameters ("best."), AdamW moments ("optimizer.")


Save = Callable[[TrainerState], None]


class Trainer:
    """Fine-tunes a recommender in place.

    Args:
        model: as `building.build` made it, on its device; the adapter is added here.
        sequences: users and items.
        settings: the `finetune` section.
        seed: of windows, order and dropout.
        log: called with the training loss every ten steps and the validation metrics every epoch.
    """

    def __init__(self, model: Recommender, sequences: Sequences, settings: Finetune, seed: int, log: Log) -> None:
        torch.manual_seed(seed)
        ADAPTERS[settings.adapter](model, settings)
        model.blueprint = replace(model.blueprint, adapter=settings.adapter, history_length=settings.history_length)
        model.input_dropout.p, model.output_dropout.p = settings.input_dropout, settings.output_dropout
        model.to(model.item_table.device)
        self.model, self.settings, self.seed, self.log = model, settings, seed, log
        self.windows = training_windows(sequences.train(), settings.history_length)
        self.parameters = trainable(model)
        self.optimizer = torch.optim.AdamW(_groups(self.parameters, settings))
        chosen = np.flatnonzero(checkpoint_users(sequences.user_ids))
        self.valid_histories = [sequences.history("valid")[user] for user in chosen]
        self.valid_targets = sequences.target("valid")[chosen]
        self.steps_per_epoch = len(plan_epoch(self.windows, settings, seed, 0))
        self.state = TrainerState(0, 0, 0, -1.0, 0, [], {})

    def fit(self, save: Save) -> History:
        """Train to the end or to early stopping and leave the best weights in the model.

        Args:
            save: called with the whole state every `checkpoint_steps` steps and after every epoch.
        """
        while self.state.epoch < self.settings.epochs and self.state.stale < self.settings.patience:
            self._epoch(save)
            self._validate()
            save(self._snapshot())
        self._load("best.")
        self.model.eval()
        return self.state.history

    def resume(self, state: TrainerState) -> None:
        """Continue from a saved state; raises KeyError where it is of another model."""
        self.state = state
        self._load("model.")
        moments = {name: state.tensors[f"optimizer.{name}"] for name in _moment_names(self.parameters)}
        for name, parameter in self.parameters.items():
            self.optimizer.state[parameter] = {
                "step": moments[f"{name}.step"].clone(),
                "exp_avg": moments[f"{name}.exp_avg"].to(parameter),
                "exp_avg_sq": moments[f"{name}.exp_avg_sq"].to(parameter),
            }

    def _epoch(self, save: Save) -> None:
        plan = plan_epoch(self.windows, self.settings, self.seed, self.state.epoch)
        self.model.train()
        for step in range(self.state.step, len(plan)):
            loss = self._step([self.windows[window] for window in plan[step]])
            self.state = self.state._replace(step=step + 1, total=self.state.total + 1)
            if self.state.total % 10 == 0 or step + 1 == len(plan):
                self._report(loss)
            if self.state.total % self.settings.checkpoint_steps == 0:
                save(self._snapshot())

    def _step(self, windows: Sequence[Window]) -> float:
        torch.manual_seed((self.seed * 1_000_003 + self.state.total) % 2**63)
        self._set_learning_rate()
        batch = pack(windows, self.model.blueprint.prompt, self.settings.row_tokens).to(self.model.item_table.device)
        loss = F.cross_entropy(self.model.logits(self.model.represent(batch)), batch.labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        self.optimizer.step()
        return loss.item()

    def _set_learning_rate(self) -> None:
        total = self.steps_per_epoch * self.settings.epochs
        factor = learning_rate_factor(self.state.total, total, self.settings.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor

    def _report(self, loss: float) -> None:
        done = self.state.total / (self.steps_per_epoch * self.settings.epochs)
        targets = float(self.state.total * self.settings.targets_per_step)
        self.log({"loss": loss, "progress": min(1.0, done), "targets": targets}, self.state.total)
        self.state.history.append({"step": self.state.total, "loss": loss})

    def _validate(self) -> None:
        ranks = rank(self.model, self.valid_histories, self.valid_targets, True, _VALIDATION_BATCH)
        metrics = {f"valid_{name}": value for name, value in summarize(ranks).items()}
        self.log(metrics, self.state.total)
        self.state.history.append({"step": self.state.total, "epoch": self.state.epoch + 1, **metrics})
        score = metrics[f"valid_{_METRIC}"]
        better = score > self.state.best
        tensors = {f"best.{name}": p.detach().clone() for name, p in self.parameters.items()} if better else {}
        self.state = self.state._replace(
            epoch=self.state.epoch + 1,
            step=0,
            best=max(score, self.state.best),
            stale=0 if better else self.state.stale + 1,
            tensors={**self._kept("best."), **tensors},
        )

    def _snapshot(self) -> TrainerState:
        tensors = {f"model.{name}": parameter.detach() for name, parameter in self.parameters.items()}
        for name, parameter in self.parameters.items():
            state = self.optimizer.state[parameter]
            for moment in ("step", "exp_avg", "exp_avg_sq"):
                tensors[f"optimizer.{name}.{moment}"] = torch.as_tensor(state[moment])
        return self.state._replace(tensors={**self._kept("best."), **tensors})

    def _kept(self, prefix: str) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self.state.tensors.items() if name.startswith(prefix)}

    def _load(self, prefix: str) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.state.tensors[prefix + name])


def plan_epoch(windows: Sequence[Window], settings: Finetune, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Which windows each optimizer step takes: shuffled, whole, about `targets_per_step` targets a step.

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
    steps = (ends[: len(order)] - 1) // settings.targets_per_step
    return list(np.split(order, np.flatnonzero(np.diff(steps)) + 1))


def learning_rate_factor(step: int, total: int, warmup: int) -> float:
    """Linear warm-up, then cosine to zero, in [0, 1]."""
    warmup = min(warmup, total // 4)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def _groups(parameters: dict[str, torch.nn.Parameter], settings: Finetune) -> Iterator[dict[str, object]]:
    """AdamW groups: tables with their own rate and no decay, matrices with decay, vectors without."""
    tables = [p for name, p in parameters.items() if name.endswith(("item_table", "code_table"))]
    rest = [p for name, p in parameters.items() if not name.endswith(("item_table", "code_table"))]
    matrices = [p for p in rest if p.ndim > 1]
    vectors = [p for p in rest if p.ndim <= 1]
    yield {"params": tables, "peak": settings.table_learning_rate, "lr": 0.0, "weight_decay": 0.0}
    yield {"params": matrices, "peak": settings.learning_rate, "lr": 0.0, "weight_decay": settings.weight_decay}
    yield {"params": vectors, "peak": settings.learning_rate, "lr": 0.0, "weight_decay": 0.0}


def _moment_names(parameters: dict[str, torch.nn.Parameter]) -> list[str]:
    return [f"{name}.{moment}" for name in parameters for moment in ("step", "exp_avg", "exp_avg_sq")]
