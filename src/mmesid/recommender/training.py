"""Fine-tuning: packed rows, a fixed number of targets per optimizer step, best checkpoint by validation nDCG@10.

Step s of epoch e draws its windows and its dropout from (seed, e, s) alone, so a resumed run equals an undisturbed one.
Several processes share each step's rows and the validation's users; the state holds whole tensors, so that a run
continues on another number of processes.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from mmesid.artifacts.values import Curves, Sequences
from mmesid.artifacts.windows import Window, training_windows
from mmesid.config import Finetune, Protocol
from mmesid.evaluation.metrics import summarize
from mmesid.evaluation.ranking import checkpoint_users
from mmesid.recommender import diagnostics
from mmesid.recommender.adapter import ADAPTERS, add_dropout, trainable
from mmesid.recommender.batching import MicroBatch, deal, plan_epoch, trial_batch
from mmesid.recommender.loss import NegativeSampler, Objective
from mmesid.recommender.model import Recommender
from mmesid.recommender.optimizer import adamw, set_learning_rate, warmup_factor
from mmesid.recommender.packing import pack_rows
from mmesid.recommender.parallel import like, prepare, rank_shared, whole

Log = Callable[[dict[str, float], int], None]
_METRIC = "ndcg_at_10"  # selects the checkpoint
_WATCHED = (_METRIC, "hr_at_10", "mrr")
REPORT_STEPS = 10
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class TrainerState(NamedTuple):
    """Where fine-tuning stands; saved as a whole, it continues exactly."""

    epoch: int  # the epoch under way, from 0
    step: int  # steps of this epoch that are done
    total: int  # optimizer steps since the start
    best: float  # best validation nDCG@10 so far
    epochs_without_gain: int  # since then
    batch_tokens: int  # of a forward pass: as set, or what the memory held when training began
    curves: Curves
    tensors: dict[str, Tensor]  # parameters ("model."), best parameters ("best."), AdamW moments ("optimizer.")


Save = Callable[[TrainerState], None]


class Trainer:
    """Fine-tunes a recommender in place.

    Args:
        model: as `building.build` made it, on its device; the adapter is added here.
        sequences: users and items.
        settings: the `finetune` section.
        protocol: how validation is judged, and how many items the model sees.
        seed: of windows, order, negatives and dropout.
        log: called with the training loss every ten steps and the validation metrics every epoch.
        accelerator: the processes that share the work, and the precision; by default this process alone.
    """

    def __init__(
        self,
        model: Recommender,
        sequences: Sequences,
        settings: Finetune,
        protocol: Protocol,
        seed: int,
        log: Log,
        accelerator: Accelerator | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.accelerator = accelerator or Accelerator(cpu=model.device.type == "cpu")
        _adapt(model, settings)
        model.input_dropout.p, model.output_dropout.p = settings.input_dropout, settings.output_dropout
        add_dropout(model.backbone, settings.layer_dropout)
        self.model, self.settings, self.seed, self.log = model, settings, seed, log
        self.windows = training_windows(sequences.train(), protocol.history_length)
        self.exclude_history = protocol.exclude_history
        self.wrapped, self.optimizer = prepare(model, settings, self.accelerator, adamw)
        self.parameters = trainable(model)
        self.sampler = NegativeSampler(sequences.train_frequency(), settings.negatives)
        chosen = np.flatnonzero(checkpoint_users(sequences.user_ids))
        histories = sequences.history("valid")
        self.valid_histories = [histories[user] for user in chosen]
        self.valid_targets = sequences.target("valid")[chosen]
        self.trial = trial_batch(self.windows, settings, model.blueprint.prompt, seed)
        plan = plan_epoch(self.windows, settings, seed, 0)
        self.steps_per_epoch = len(plan)
        self.targets_per_epoch = sum(len(self.windows[window].labels) for step in plan for window in step)
        self.state = TrainerState(0, 0, 0, -1.0, 0, settings.batch_tokens, [], {})

    def fit(self, save: Save) -> Curves:
        """Train to the end or to early stopping and leave the best weights in the model.

        Args:
            save: called in every process with the whole state, every `checkpoint_steps` steps and after every epoch.
        """
        self.begin()
        self.log(self._progress(), self.state.total)
        while self.state.epoch < self.settings.epochs and self.state.epochs_without_gain < self.settings.patience:
            self._epoch(save)
            self._validate()
            save(self._snapshot())
        self._load("best.")
        self.model.items.soften(1.0)
        self.model.eval()
        return self.state.curves

    def begin(self) -> dict[str, float]:
        """What there is to see before the first step, measured once: the loss beside chance, and sizes.

        Returns:
            `first_loss` (as step one has it: scores warm up), `full_size_loss` (of the same batch and weights, scores
            at their size) and `chance` (ln N) in nats, and `diagnostics.SIZES`; of a resumed run as they were.
        """
        if not self.state.curves:
            found = {**self._first_loss(), **self._sizes()}
            self.log(found, 0)
            self.state.curves.append({"step": 0, **found})
        return {name: float(value) for name, value in self.state.curves[0].items()}

    def resume(self, state: TrainerState) -> None:
        """Continue from a saved state; raises KeyError where it is of another model."""
        self.state = state
        self._load("model.")
        for name, parameter in self.parameters.items():
            moments = {moment: state.tensors[f"optimizer.{name}.{moment}"] for moment in _MOMENTS}
            self.optimizer.state[parameter] = {
                "step": moments["step"].clone().to(parameter.device),
                "exp_avg": like(moments["exp_avg"], parameter),
                "exp_avg_sq": like(moments["exp_avg_sq"], parameter),
            }

    def _epoch(self, save: Save) -> None:
        plan = plan_epoch(self.windows, self.settings, self.seed, self.state.epoch)
        self.model.train()
        for step in range(self.state.step, len(plan)):
            loss = self.step([self.windows[window] for window in plan[step]])
            self.state = self.state._replace(step=step + 1, total=self.state.total + 1)
            if self.state.total % REPORT_STEPS == 0 or step + 1 == len(plan):
                self._report(loss)
            if self.state.total % self.settings.checkpoint_steps == 0:
                save(self._snapshot())

    def step(self, windows: Sequence[Window]) -> Tensor:
        """One optimizer step; the mean loss of this process's share, times the number of processes."""
        worker, processes = self.accelerator.process_index, self.accelerator.num_processes
        self.schedule()
        torch.manual_seed((self.seed * 1_000_003 + self.state.total + worker * 7_368_787) % 2**63)
        limits = self.settings.row_tokens, self.state.batch_tokens
        batches = deal(windows, self.model.blueprint.prompt, *limits, processes)[worker]
        scale = processes / sum(len(window.labels) for window in windows)
        loss = torch.zeros((), device=self.model.device)
        for number, batch in enumerate(batches):
            last = batch is batches[-1]
            with nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                part = self.loss(batch) * scale
                self.accelerator.backward(part)
            loss += part.detach()
            self.log(self._progress((number + 1) / len(batches)), self.state.total)
        self.accelerator.clip_grad_norm_(self.parameters.values(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss

    def schedule(self) -> None:
        """Give the coming step its learning rates, and scores their size: both warm up."""
        steps = self.state.total, self.settings.epochs * self.steps_per_epoch, self.settings.warmup_steps
        set_learning_rate(self.optimizer, *steps)
        self.model.items.soften(warmup_factor(*steps))

    def loss(self, batch: MicroBatch) -> Tensor:
        """Of a micro-batch, summed over its targets; zero where it does not count."""
        packed = pack_rows(batch.rows, self.model.blueprint.prompt).to(self.model.device)
        seed = (self.seed, self.state.total)
        negatives = self.sampler.draw(seed, packed.labels.device) if self.settings.loss == "sampled" else None
        loss: Tensor = self.wrapped(packed, Objective(self.settings.loss_memory * 2**20, negatives))
        return loss * float(batch.counts)

    def _progress(self, share: float = 0.0) -> dict[str, float]:
        """How far the training is: its finished steps, and a share of the running one, which may take minutes."""
        epochs = (self.state.total + share) / self.steps_per_epoch
        return {"progress": min(1.0, epochs / self.settings.epochs), "targets": epochs * self.targets_per_epoch}

    @torch.no_grad()
    def _first_loss(self) -> dict[str, float]:
        self.model.eval()
        targets = sum(len(window.labels) for row in self.trial.rows for window in row)
        self.model.items.soften(1.0)
        full = self.loss(self.trial).item() / targets
        self.schedule()
        first = self.loss(self.trial).item() / targets
        return {"first_loss": first, "full_size_loss": full, "chance": math.log(self.model.blueprint.n_items)}

    def _sizes(self) -> dict[str, float]:
        self.model.eval()
        packed = pack_rows(self.trial.rows, self.model.blueprint.prompt).to(self.model.device)
        return diagnostics.sizes(self.model.sizes(packed))

    def _report(self, loss: Tensor) -> None:
        found = {"loss": self.accelerator.reduce(loss, "mean").item()}
        if self.state.total == REPORT_STEPS:
            found |= diagnostics.update_shares(self.optimizer, self.parameters)
        self.log({**found, **self._progress()}, self.state.total)
        self.state.curves.append({"step": self.state.total, **found})

    def _validate(self) -> None:
        ranks = rank_shared(
            self.model, self.valid_histories, self.valid_targets, self.exclude_history, self.accelerator
        )
        metrics = {f"valid_{name}": value for name, value in summarize(ranks, _WATCHED).items()}
        seen = {**metrics, **self._sizes(), **diagnostics.update_shares(self.optimizer, self.parameters)}
        self.log(seen, self.state.total)
        self.state.curves.append({"step": self.state.total, "epoch": self.state.epoch + 1, **seen})
        score = metrics[f"valid_{_METRIC}"]
        better = score > self.state.best
        tensors = {f"best.{name}": whole(p).clone() for name, p in self.parameters.items()} if better else {}
        self.state = self.state._replace(
            epoch=self.state.epoch + 1,
            step=0,
            best=max(score, self.state.best),
            epochs_without_gain=0 if better else self.state.epochs_without_gain + 1,
            tensors={**self._kept("best."), **tensors},
        )

    def _snapshot(self) -> TrainerState:
        tensors = {f"model.{name}": whole(parameter) for name, parameter in self.parameters.items()}
        for name, parameter in self.parameters.items():
            state = self.optimizer.state[parameter]
            tensors.update({f"optimizer.{name}.{moment}": whole(state[moment]) for moment in _MOMENTS})
        return self.state._replace(tensors={**self._kept("best."), **tensors})

    def _kept(self, prefix: str) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self.state.tensors.items() if name.startswith(prefix)}

    def _load(self, prefix: str) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(like(self.state.tensors[prefix + name], parameter))


def finetuned(model: Recommender, settings: Finetune, state: TrainerState) -> Recommender:
    """A recommender as `building.build` made it, with the best weights of a run on another copy of it."""
    _adapt(model, settings)
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(state.tensors[f"best.{name}"])
    return model.eval()


def _adapt(model: Recommender, settings: Finetune) -> None:
    device = model.device
    ADAPTERS[settings.adapter](model, settings)
    model.blueprint = replace(model.blueprint, adapter=settings.adapter)
    model.to(device)
