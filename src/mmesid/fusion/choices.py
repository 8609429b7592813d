"""What each user chose among, with the evidence for every choice: all items where they fit into memory, else a sample.

The sample keeps the target and the best items of each kind of evidence, which carry nearly all of the softmax, and
draws from the rest without replacement; what is drawn stands for the rest by its weight, so that the sum over all items
is estimated without bias.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.evaluation.ranking import Scores, users_at_a_time
from mmesid.fusion.evidence import EVIDENCE, Held, network
from mmesid.fusion.fused import bins_of

TOGETHER = 4  # kinds of evidence that count as one when it is asked how many users fit into memory
BEST = 0.5  # share of a sample that the best items of the evidence may take
_BYTES, _MIB = 4, 2**20


class Users(NamedTuple):
    """Whose targets the weights are fitted on."""

    histories: Sequence[NDArray[np.int64]]  # of B users, ids 1..N, oldest first
    targets: NDArray[np.int64]  # (B,)


class Choices(NamedTuple):
    """What B users chose among, C items each, and how strongly each kind of evidence speaks for each; on the CPU."""

    evidence: dict[str, Tensor]  # each (B, C); a network's under its model's name
    targets: dict[str, Tensor]  # each (B,) evidence for what the user took
    offsets: Tensor  # (B, C) log of how many items one stands for; -inf: no candidate
    bins: Tensor  # (C,) of the items in each column
    target_bins: Tensor  # (B,)


def gather(
    users: Users,
    networks: Mapping[str, Scores],
    held: Held,
    kinds: Sequence[str],
    bounds: Sequence[int],
    exclude_history: bool,
    memory: int,
    seed: int,
) -> Choices:
    """Compute the evidence of every choice, once for all models that are fitted on it.

    Args:
        users: whose choices.
        networks: scores by model.
        held: tables of the evidence.
        kinds: of evidence, names in EVIDENCE.
        bounds: of the bins of training interactions.
        exclude_history: whether earlier items are no candidates, but for the target itself.
        memory: MiB that the choices may take.
        seed: of the sample.
    """
    names, targets = [*networks, *kinds], torch.from_numpy(users.targets)
    bins = bins_of(held.frequency, bounds).cpu()  # (N + 1,)
    by_bin = [1 + (bins[1:] == place).nonzero()[:, 0] for place in range(len(bounds))]
    room = memory * _MIB // (_BYTES * (len(names) + 1) * max(len(targets), 1))  # items of each user
    sizes = _sizes([len(items) for items in by_bin], room, len(names))
    shape, generator = (len(targets), sum(sizes)), torch.Generator().manual_seed(seed)
    evidence, offsets = {name: torch.empty(shape) for name in names}, torch.empty(shape)
    taken = {name: torch.empty(len(targets)) for name in names}
    for batch, parts in _batches(users, networks, held, kinds):
        mine = targets[batch]
        possible = _candidates(users.histories[batch], mine, held.n_items, exclude_history)
        drawn = [_draw(parts, possible, mine, *part, generator) for part in zip(by_bin, sizes, strict=True)]
        items = torch.cat([part for part, _ in drawn], dim=1)  # (b, C)
        offsets[batch] = torch.cat([weights for _, weights in drawn], dim=1).log()
        for name, part in zip(names, parts, strict=True):
            evidence[name][batch] = part.gather(1, items)
            taken[name][batch] = part.gather(1, mine[:, None])[:, 0]
    columns = torch.repeat_interleave(torch.arange(len(bounds)), torch.tensor(sizes))
    return Choices(evidence, taken, offsets, columns, bins[targets])


def _sizes(items: Sequence[int], room: int, width: int) -> list[int]:
    """Items of each bin that a user's choices hold: all where there is room, else the same share of each bin."""
    share = min(1.0, room / max(sum(items), 1))
    return [min(there, max(int(share * there), 2 * width + 2)) for there in items]


def _batches(
    users: Users, networks: Mapping[str, Scores], held: Held, kinds: Sequence[str]
) -> Iterator[tuple[slice, list[Tensor]]]:
    """Which users, and each kind of evidence for every item, (b, N + 1), the networks' first."""
    step = users_at_a_time(held.n_items * (len(networks) + len(kinds)) // TOGETHER)
    for start in range(0, len(users.targets), step):
        batch = slice(start, start + step)
        histories = users.histories[batch]
        recent = held.recent(histories)
        neural = [network(scores(histories)) for scores in networks.values()]
        yield batch, [part.cpu() for part in (*neural, *(EVIDENCE[kind](held, recent) for kind in kinds))]


def _candidates(histories: Sequence[NDArray[np.int64]], targets: Tensor, n_items: int, exclude_history: bool) -> Tensor:
    """(b, N + 1) True where an item could have been chosen."""
    possible = torch.ones(len(histories), n_items + 1, dtype=torch.bool)
    if exclude_history:
        rows = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
        possible[torch.from_numpy(rows), torch.from_numpy(np.concatenate(histories))] = False
    possible[:, 0] = False
    return possible.scatter_(1, targets[:, None], True)


def _draw(
    parts: Sequence[Tensor],
    possible: Tensor,
    targets: Tensor,
    items: Tensor,
    size: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Some of a bin's items for each user, and how many items each stands for, 0 for none; both (b, size)."""
    possible = possible.index_select(1, items)
    if size == len(items):
        return items.expand(len(targets), -1), possible.float()
    sure = possible & (items == targets[:, None])
    best = int(BEST * size) // len(parts)
    for part in parts:
        mine = part.index_select(1, items).masked_fill_(~possible, -torch.inf)
        sure.scatter_(1, mine.topk(best, dim=1).indices, True)
    sure &= possible
    order = torch.rand(possible.shape, generator=generator) + 2 * sure + possible.float()  # sure ones, then others
    places = order.topk(size, dim=1).indices
    rest = (possible & ~sure).sum(dim=1, keepdim=True)  # (b, 1)
    drawn = (size - sure.sum(dim=1, keepdim=True)).minimum(rest)
    weights = torch.where(sure.gather(1, places), 1.0, rest / drawn.clamp_min(1))
    return items[places], weights.masked_fill(~possible.gather(1, places), 0.0)
