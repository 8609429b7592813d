"""Trains SASRec on the training part and ranks every user's target: the collaborative embedding and the baseline."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.artifacts.values import Embedding, History, Sequences, Split
from mmesid.config import EncodeCollaborative
from mmesid.encoders import windows
from mmesid.encoders.sasrec import Sasrec
from mmesid.encoders.softmax import cross_entropy
from mmesid.errors import DataError
from mmesid.evaluation import metrics, ranking

Log = Callable[[dict[str, float], int], None]

LOG_EVERY = 20  # steps
SCORES = 2**23  # scores of one evaluation batch


class SasrecResult(NamedTuple):
    """What training leaves behind, all from the best epoch on validation."""

    embedding: Embedding  # absent where an item has no training interaction
    weights: dict[str, Tensor]
    ranks: pd.DataFrame  # user, split, model, rank
    history: History


def build(n_items: int, settings: EncodeCollaborative) -> Sasrec:
    """An untrained SASRec of the settings' size."""
    return Sasrec(
        n_items, settings.dimension, settings.blocks, settings.heads, settings.dropout, settings.history_length
    )


def train(
    sequences: Sequences,
    settings: EncodeCollaborative,
    seed: int,
    device: str,
    log: Log,
    exclude_history: bool = True,
) -> SasrecResult:
    """Train SASRec, keep the epoch with the best nDCG@10 of the users that select checkpoints, rank with it.

    Args:
        sequences: all users; training sees the training part only.
        settings: size and schedule.
        seed: of initialisation, order and dropout.
        device: cpu, cuda, ...
        log: called with metrics and the step.
        exclude_history: whether a user's earlier items leave the candidates.

    Raises:
        DataError: nobody has two training items, or no user selects checkpoints.
    """
    torch.manual_seed(seed)
    model = build(sequences.n_items, settings).to(device)
    history = _fit(model, sequences, settings, seed, log, exclude_history)
    splits: tuple[Split, ...] = ("valid", "test")
    ranks = pd.concat([_table(model, sequences, s, exclude_history) for s in splits], ignore_index=True)
    weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    present = sequences.train_frequency() > 0
    matrix = np.where(present[:, None], weights["items.weight"].numpy(), np.float32(0))
    return SasrecResult(Embedding(matrix, present), weights, ranks, history)


@torch.no_grad()
def rank(
    model: Sasrec,
    histories: list[NDArray[np.int64]],
    targets: NDArray[np.int64],
    exclude_history: bool,
) -> NDArray[np.int64]:
    """Rank of each user's target, (B,), among all items.

    Args:
        model: on any device.
        histories: each user's earlier items; the model sees the last T of them.
        targets: (B,).
        exclude_history: whether all earlier items leave the candidates.
    """
    model.eval()
    device = model.items.weight.device
    ranks = np.empty(len(histories), dtype=np.int64)
    size = max(1, SCORES // model.items.num_embeddings)
    for users, items in windows.histories(histories, model.positions.num_embeddings, size):
        last = (items > 0).sum(dim=1) - 1
        hidden = model(items.to(device))[torch.arange(len(users)), last]  # (B, D)
        wanted = torch.from_numpy(targets[users])
        found = ranking.rank_targets(model.score(hidden), wanted, [histories[u] for u in users], exclude_history)
        ranks[users] = found.cpu().numpy()
    return ranks


class _Trainer:
    """Optimizer, schedule and order of one training run."""

    def __init__(self, model: Sasrec, sequences: Sequences, settings: EncodeCollaborative, seed: int) -> None:
        self.model = model
        self.training = sequences.train()
        self.windows = windows.cut(self.training, settings.history_length)
        if not self.windows:
            raise DataError(
                "SASRec has nothing to learn: no user has two training items besides the validation and the test item; "
                "raise prepare.min_user_interactions or give longer histories"
            )
        self.size = settings.batch_users
        self.steps = settings.epochs * -(-len(self.windows) // self.size)
        self.step = 0
        self.generator = np.random.default_rng(seed)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, self.steps)

    def epoch(self, log: Log) -> float:
        """Train on every window once; mean loss."""
        self.model.train()
        total, count = 0.0, 0
        for group in windows.batches(self.windows, self.size, self.generator):
            loss, targets = self._update(windows.collate(group, self.training))
            total, count = total + loss * targets, count + targets
            if self.step % LOG_EVERY == 0:
                log({"loss": loss, "progress": self.step / self.steps}, self.step)
        return total / count

    def _update(self, batch: windows.Batch) -> tuple[float, int]:
        device = self.model.items.weight.device
        targets = batch.targets.to(device)
        counted = targets > 0
        users = self.model(batch.items.to(device))[counted]  # (n, D)
        loss = cross_entropy(users, self.model.items.weight, targets[counted])
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        return float(loss.detach()), len(users)


def _fit(
    model: Sasrec, sequences: Sequences, settings: EncodeCollaborative, seed: int, log: Log, exclude_history: bool
) -> History:
    """Train until `epochs`, or until `patience` epochs bring nothing better; leave the best weights in the model."""
    trainer = _Trainer(model, sequences, settings, seed)
    judges = np.flatnonzero(ranking.checkpoint_users(sequences.user_ids))
    if not len(judges):
        raise DataError(f"none of the {len(sequences.user_ids)} users selects checkpoints; SASRec needs more users")
    known, wanted = sequences.history("valid"), sequences.target("valid")[judges]
    history: History = []
    best, best_epoch = -1.0, 0
    kept: dict[str, Tensor] = {}
    for epoch in range(1, settings.epochs + 1):
        loss = trainer.epoch(log)
        ndcg = metrics.summarize(rank(model, [known[u] for u in judges], wanted, exclude_history))["ndcg_at_10"]
        entry = {"loss": loss, "valid_ndcg_at_10": ndcg, "epoch": float(epoch)}
        log(entry | {"progress": trainer.step / trainer.steps}, trainer.step)
        history.append({"step": trainer.step} | entry)
        if ndcg > best:
            best, best_epoch = ndcg, epoch
            kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        if epoch - best_epoch >= settings.patience:
            break
    model.load_state_dict(kept)
    return history


def _table(model: Sasrec, sequences: Sequences, split: Split, exclude_history: bool) -> pd.DataFrame:
    """Ranks of all users on one split, as `artifacts.save_ranks` takes them."""
    found = rank(model, sequences.history(split), sequences.target(split), exclude_history)
    return pd.DataFrame({"user": np.arange(len(found)), "split": split, "model": "sasrec", "rank": found})
