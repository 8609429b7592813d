"""Evidence of a user for an item, each kind by itself: how popular it is, what it follows, what it is like.

A kind is a function and a line in EVIDENCE. Each has 0 where it knows nothing: of an item without a picture, for a
history without pictures, of an item that never stood near those of the history.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.artifacts.values import FusionRule, FusionTables

_TINY = 1e-12  # where a history has nothing to average


class Recent(NamedTuple):
    """The latest items of b histories, end to end."""

    n_users: int  # b
    users: Tensor  # (n,) 0..b - 1
    items: Tensor  # (n,) 1..N
    ages: Tensor  # (n,) 0 is the newest


class Held:
    """Tables on a device, ready to give evidence.

    Args:
        tables: of the dataset.
        rule: constants.
        device: of the tables and of all evidence.
    """

    def __init__(self, tables: FusionTables, rule: FusionRule, device: str = "cpu") -> None:
        self.rule = rule
        self.device = torch.device(device)
        self.frequency = torch.from_numpy(tables.frequency).to(device)
        self.starts, self.neighbors, self.strengths = (torch.from_numpy(part).to(device) for part in tables.transitions)
        self.content = {name: torch.from_numpy(rows).to(device).float() for name, rows in tables.content.items()}
        self.present = {name: rows.any(dim=1) for name, rows in self.content.items()}

    @property
    def n_items(self) -> int:
        """N."""
        return len(self.frequency) - 1

    def recent(self, histories: Sequence[NDArray[np.int64]]) -> Recent:
        """The last T items of each history, ids 1..N, oldest first."""
        latest = [history[-self.rule.history_length :] for history in histories]
        lengths = np.array([len(history) for history in latest], dtype=np.int64)
        ends = np.repeat(np.cumsum(lengths), lengths)
        items = np.concatenate([np.zeros(0, np.int64), *latest])
        users = np.repeat(np.arange(len(latest)), lengths)
        ages = ends - 1 - np.arange(len(items))
        return Recent(len(latest), *(torch.from_numpy(part).to(self.device) for part in (users, items, ages)))


def network(scores: Tensor) -> Tensor:
    """A network's evidence: the logarithm of the softmax of its scores over all items, (b, N + 1); column 0 is 0."""
    items = scores[:, 1:].float()
    return torch.cat([torch.zeros_like(items[:, :1]), items.log_softmax(dim=1)], dim=1)


def popularity(held: Held, recent: Recent) -> Tensor:
    """log(1 + training interactions), the same for every user, (b, N + 1)."""
    return held.frequency.float().log1p().expand(recent.n_users, -1)


def transitions(held: Held, recent: Recent) -> Tensor:
    """log(1 + Q / .001), (b, N + 1): Q sums the memory's rows of the history, each .65^age, and is scaled to sum 1."""
    begins = held.starts[recent.items]
    lengths = held.starts[recent.items + 1] - begins  # (n,)
    skipped = (begins - lengths.cumsum(0) + lengths).repeat_interleave(lengths)
    entries = torch.arange(len(skipped), device=held.device) + skipped  # (e,)
    weights = (held.rule.transition_decay ** recent.ages.float()).repeat_interleave(lengths) * held.strengths[entries]
    places = recent.users.repeat_interleave(lengths) * (held.n_items + 1) + held.neighbors[entries]
    found = torch.zeros(recent.n_users * (held.n_items + 1), device=held.device).index_add_(0, places, weights)
    found = found.view(recent.n_users, held.n_items + 1)
    found /= found.sum(dim=1, keepdim=True).clamp_min(_TINY)
    return (found / held.rule.transition_scale).log1p_()


def content(held: Held, recent: Recent, name: str) -> Tensor:
    """5 <mean row of the history, row of the item>, (b, N + 1); the mean weighs .9^age, items without content none."""
    rows = held.content[name]  # (N + 1, D)
    weights = held.rule.content_decay ** recent.ages.float() * held.present[name][recent.items]  # (n,)
    sums = torch.zeros(recent.n_users, rows.shape[1], device=held.device)
    sums.index_add_(0, recent.users, rows[recent.items] * weights[:, None])
    total = torch.zeros(recent.n_users, device=held.device).index_add_(0, recent.users, weights)
    return (held.rule.content_scale * sums / total.clamp_min(_TINY)[:, None]) @ rows.T


EVIDENCE: dict[str, Callable[[Held, Recent], Tensor]] = {
    "popularity": popularity,
    "transitions": transitions,
    "text": partial(content, name="text"),
    "image": partial(content, name="image"),
    "text_codes": partial(content, name="text_codes"),
    "image_codes": partial(content, name="image_codes"),
}


def available(names: Sequence[str], tables: FusionTables) -> list[str]:
    """Those of the named kinds that a dataset has the tables for."""
    return [name for name in names if name in ("popularity", "transitions") or name in tables.content]
