"""A long encoding in shards: what is finished survives a kill, and several processes divide what is not."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.shards import Shards
from mmesid.artifacts.values import Embedding
from mmesid.errors import WeightsError

SHARD_WORK = {"cpu": 2e12, "cuda": 2e15}  # parameters times tokens of a shard: half a minute of a core, some s of a GPU
PATIENCE = timedelta(days=30)  # of a process that is done with its share for the others
SHARDS = 64  # at least, where there are as many batches: several processes have something to divide

Log = Callable[[dict[str, float], int], None]
Batch = list[int]  # places of what is encoded together
Encode = Callable[[Iterable[Batch]], Iterator[NDArray[np.float32]]]  # batches -> the vectors of each, (B, D)


def _go_on() -> None:
    pass


class Share(NamedTuple):
    """Which of several processes of one encoding this is."""

    process: int = 0
    processes: int = 1
    cores: int = 1  # of this machine, for this process
    wait: Callable[[], None] = _go_on  # until all processes have come as far


ALONE = Share()


@contextmanager
def joined(device: str, cores: int, launched: bool) -> Iterator[tuple[str, Share]]:
    """The processes that this one belongs to, by the launcher's environment.

    Args:
        device: cpu or cuda.
        cores: for this process.
        launched: whether there is a launcher.

    Returns:
        The device of this process, and its share.
    """
    if not launched:
        yield device, Share(cores=cores)
        return
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu", timeout=PATIENCE)
    here = device if device == "cpu" else str(state.device)
    yield here, Share(state.process_index, state.num_processes, cores, state.wait_for_everyone)
    state.wait_for_everyone()  # of those that had nothing to do as well
    state.destroy_process_group()


class Plan(NamedTuple):
    """What is encoded together, by its places: the same for the same pieces, whatever is done already."""

    shards: list[list[Batch]]
    sizes: NDArray[np.int64]  # tokens of each piece, by which the progress counts


def plan(batches: Sequence[Batch], sizes: NDArray[np.int64], parameters: int, device: str) -> Plan:
    """Cut batches into shards of much the same work.

    Args:
        batches: every place once.
        sizes: tokens of each piece.
        parameters: of the model, by which a shard holds more or fewer batches.
        device: cpu, cuda, ...
    """
    limit = min(SHARD_WORK[_kind(device)], float(sizes.sum()) * parameters / SHARDS)
    shards: list[list[Batch]] = []
    work = np.inf
    for batch in batches:
        if work >= limit:
            shards.append([])
            work = 0.0
        shards[-1].append(batch)
        work += float(sizes[batch].sum()) * parameters
    return Plan(shards, sizes)


def run(planned: Plan, encode: Encode, key: str, shards: Shards, share: Share, log: Log) -> NDArray[np.float32] | None:
    """Vectors of all pieces, (n, D): finished shards as they are, the others encoded and kept.

    Every process encodes its part of the shards that are not finished; the first one returns the whole.

    Args:
        planned: what is encoded together.
        encode: the model.
        key: of all that decides the vectors.
        shards: finished ones are taken from there and put there.
        share: which process this is.
        log: called with the progress of this process.

    Returns:
        None in every process but the first.
    """
    if share.process == 0:
        shards.begin(key)
    mine = range(share.process, len(planned.shards), share.processes)
    todo = [number for number in mine if not shards.has(key, number)]
    total = sum(_size(planned, number) for number in mine)
    done = total - sum(_size(planned, number) for number in todo)
    vectors = encode(chain.from_iterable(planned.shards[number] for number in todo))
    for number in todo:
        rows = []
        for step, batch in enumerate(planned.shards[number]):
            rows.append(next(vectors))
            done += int(planned.sizes[batch].sum())
            log({"progress": done / total}, step)
        shards.save(key, number, np.concatenate(rows))
    share.wait()
    return _whole(planned, key, shards) if share.process == 0 else None


def key_of(facts: Sequence[object], device: str, pieces: Iterable[bytes], shards: Shards) -> str:
    """Of all that decides a shard's vectors.

    Args:
        facts: the model and how it is used, as JSON takes them.
        device: cpu, cuda, cuda:1, ...; which GPU does not count.
        pieces: what is encoded.
        shards: whose fingerprint counts too.
    """
    decisive = [*facts, _kind(device), SHARD_WORK, SHARDS, shards.fingerprint]
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    for piece in pieces:
        digest.update(f"{len(piece)} ".encode() + piece)
    return digest.hexdigest()


def spread(vectors: NDArray[np.float32], rows: Sequence[int | None]) -> Embedding:
    """Vectors of different pieces -> those of all items, (N + 1, D), with a mask.

    Args:
        vectors: (n, D).
        rows: of item 1..N, the place of its piece; None where it has none.
    """
    matrix = np.zeros((len(rows) + 1, vectors.shape[1]), dtype=np.float32)
    mask = np.array([False, *(row is not None for row in rows)])
    matrix[mask] = vectors[[row for row in rows if row is not None]]
    return Embedding(matrix, mask)


def refuse_infinite(vectors: NDArray[np.float32], section: str, name: str) -> None:
    """Raises WeightsError where a model has overflowed.

    Args:
        vectors: (n, D).
        section: of the parameters.
        name: of the model.
    """
    if not np.isfinite(vectors).all():
        raise WeightsError(f"{section}: vectors of {name} are not finite; set {section}.dtype to float32")


def _kind(device: str) -> str:
    return "cuda" if device.startswith("cuda") else "cpu"


def _size(planned: Plan, number: int) -> int:
    return sum(int(planned.sizes[batch].sum()) for batch in planned.shards[number])


def _whole(planned: Plan, key: str, shards: Shards) -> NDArray[np.float32]:
    """All shards in the order of the pieces."""
    parts = [shards.load(key, number) for number in range(len(planned.shards))]
    found = np.concatenate([part for part in parts if part is not None])
    vectors = np.empty_like(found)
    vectors[[place for batches in planned.shards for batch in batches for place in batch]] = found
    return vectors
