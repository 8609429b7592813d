"""Trains SASRec on the training part: the collaborative embedding, and the weights of the baseline.

`fit` trains any transformer over items.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmesid.artifacts.values import Curves, Embedding, Sequences
from mmesid.artifacts.windows import Window, training_windows
from mmesid.config import EncodeCollaborative, Protocol, SequentialTransformer, sizes
from mmesid.encoders.batching import batches, collate
from mmesid.encoders.sasrec import Transformer, build, scorer
from mmesid.errors import DataError
from mmesid.evaluation.metrics import ndcg
from mmesid.evaluation.ranking import checkpoint_users, judge, users_at_a_time
from mmesid.kernels.softmax import cross_entropy

Log = Callable[[dict[str, float], int], None]

BETAS = (0.9, 0.98)  # of AdamW
MAX_GRADIENT = 1.0  # norm at which the gradient is clipped
WARMUP = 20  # steps in which SASRec's rate rises to its height
LOG_EVERY = 20  # steps
CUTOFF = 10  # of the nDCG that selects the epoch


class SasrecResult(NamedTuple):
    """What training leaves behind, all from the best epoch on validation."""

    embedding: Embedding  # absent where an item has no training interaction
    weights: dict[str, Tensor]
    curves: Curves


def train(
    sequences: Sequences, settings: EncodeCollaborative, protocol: Protocol, seed: int, device: str, log: Log
) -> SasrecResult:
    """Train SASRec from scratch.

    Args:
        sequences: all users; training sees the training part only.
        settings: size and schedule.
        protocol: how validation is judged, and how many items the model sees.
        seed: of initialization, order and dropout.
        device: cpu, cuda, ...
        log: called with metrics and the step.

    Raises:
        DataError: nobody has two training items, or no user selects checkpoints, or all do.
    """
    torch.manual_seed(seed)
    model = build(sequences.n_items, settings, protocol.history_length).to(device)
    curves = fit(model, sequences, settings, protocol, seed, log)
    weights = weights_of(model)
    present = sequences.train_frequency() > 0
    matrix = np.where(present[:, None], weights["items.weight"].numpy(), np.float32(0))
    return SasrecResult(Embedding(matrix, present), weights, curves)


def weights_of(model: Transformer) -> dict[str, Tensor]:
    """A copy of the weights on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def fit(
    model: Transformer,
    sequences: Sequences,
    settings: SequentialTransformer,
    protocol: Protocol,
    seed: int,
    log: Log,
    warmup: int = WARMUP,
) -> Curves:
    """Train until `epochs`, or until `patience` epochs bring nothing better; leave the best weights in the model.

    An epoch is judged by nDCG@10 of the validation users that select checkpoints.

    Args:
        model: on any device.
        sequences: all users; training sees the training part only.
        settings: schedule.
        protocol: how validation is judged, and how many items the model sees.
        seed: of the order; dropout goes by torch's own.
        log: called with metrics and the step.
        warmup: steps in which the rate rises to its height.

    Raises:
        DataError: nobody has two training items, or no user selects checkpoints, or all do.
    """
    trainer = _Trainer(model, sequences, settings, protocol, seed, warmup)
    validate = _Validation(model, sequences, protocol)
    curves: Curves = []
    best, best_epoch = -1.0, 0
    kept: dict[str, Tensor] = {}
    for epoch in range(1, settings.epochs + 1):
        loss = trainer.epoch(log)
        score = validate()
        entry = {"loss": loss, "valid_ndcg_at_10": score, "epoch": float(epoch)}
        log(entry | {"progress": trainer.step / trainer.steps}, trainer.step)
        curves.append({"step": trainer.step} | entry)
        if score > best:
            best, best_epoch = score, epoch
            kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        if epoch - best_epoch >= settings.patience:
            break
    model.load_state_dict(kept)
    return curves


class _Validation:
    """Mean nDCG@10 of the users that select checkpoints, by a model as it stands."""

    def __init__(self, model: Transformer, sequences: Sequences, protocol: Protocol) -> None:
        chosen = checkpoint_users(sequences.user_ids)
        users = np.flatnonzero(chosen)
        if not 0 < len(users) < len(chosen):  # said here, before anything is trained: `evaluate` needs both
            raise DataError(
                f"one half of the validation users selects checkpoints, the other is judged; by their ids these are "
                f"{len(users)} and {len(chosen) - len(users)} of the {len(chosen)} that preparation leaves, and each "
                "needs one at least: lower prepare.min_user_interactions or prepare.min_item_interactions, or give "
                "more users"
            )
        histories = sequences.history("valid")
        users = users[np.argsort([len(histories[user]) for user in users])]  # of alike length together: little padding
        self._model = model
        self._histories = [histories[user] for user in users]
        self._targets = sequences.target("valid")[users]
        self._exclude_history = protocol.exclude_history
        self._batch = users_at_a_time(sequences.n_items)

    def __call__(self) -> float:
        scores = scorer(self._model)
        ranks = judge(scores, self._histories, self._targets, self._exclude_history, self._batch).ranks
        return float(ndcg(ranks, CUTOFF).mean())


class _Trainer:
    """Optimizer, schedule and order of one training run."""

    def __init__(
        self,
        model: Transformer,
        sequences: Sequences,
        settings: SequentialTransformer,
        protocol: Protocol,
        seed: int,
        warmup: int = WARMUP,
    ) -> None:
        self.model = model
        self.windows = training_windows(sequences.train(), protocol.history_length)
        if not self.windows:
            raise DataError(
                "there is nothing to learn: no user has two training items besides the validation and the test item; "
                "raise prepare.min_user_interactions or give longer histories"
            )
        targets = sum(len(window.labels) for window in self.windows)
        self.size = sizes.step_windows(len(self.windows), targets, settings.batch_users)
        self.steps = settings.epochs * -(-len(self.windows) // self.size)
        self.step, self.warmup = 0, warmup
        self.generator = np.random.default_rng(seed)
        self.optimizer = _optimizer(model, settings)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate)

    def _rate(self, step: int) -> float:
        """Share of the learning rate: up in a line, then down along half a cosine."""
        return min(1.0, (step + 1) / self.warmup) * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def epoch(self, log: Log) -> float:
        """Train on every window once; mean loss."""
        self.model.train()
        total, count = 0.0, 0
        for group in batches(self.windows, self.size, self.generator):
            loss, targets = self._update(group)
            total, count = total + loss * targets, count + targets
            if self.step % LOG_EVERY == 0:
                log({"loss": loss, "progress": self.step / self.steps}, self.step)
        return total / count

    def _update(self, group: Sequence[Window]) -> tuple[float, int]:
        batch, device, vectors = collate(group), self.model.device, self.model.items.vectors()
        targets = batch.targets.to(device)
        counted = targets > 0
        users = self.model(batch.items.to(device), vectors)[counted]  # (n, D)
        loss = cross_entropy(users, vectors.classes, targets[counted]) / len(users)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        return float(loss.detach()), len(users)


def _optimizer(model: Transformer, settings: SequentialTransformer) -> torch.optim.AdamW:
    """Decay for the matrices alone: in a table it would pull rare items, which seldom get a gradient, to zero."""
    matrices = [layer.weight for layer in model.modules() if isinstance(layer, nn.Linear)]
    decayed = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in decayed]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, settings.learning_rate, betas=BETAS)
