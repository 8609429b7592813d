"""A catalogue's pictures through a vision model: decoded ahead of it, in shards that survive a kill."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.shards import Shards
from mmesid.artifacts.values import Embedding
from mmesid.encoders import sharded
from mmesid.encoders.sharded import ALONE, Batch, Log, Share

MOST_AHEAD = 8  # batches that are prepared at a time


class Viewer(Protocol):
    """A model that looks at pictures."""

    @property
    def section(self) -> str: ...  # of the parameters, for messages

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> str: ...  # of its files, changes with them

    @property
    def parameters(self) -> int: ...

    @property
    def tokens(self) -> int: ...  # of a picture

    def record(self) -> dict[str, Any]:
        """What decided the vectors, for people and for the keys of shards."""
        ...

    def prepare(self, pictures: Sequence[bytes]) -> Any:
        """Picture files as the model's input."""
        ...

    def vectors(self, inputs: Any) -> NDArray[np.float32]:
        """Of a few prepared pictures, (B, D)."""
        ...


Loader = Callable[[int], Viewer]  # told how many pictures there are to encode, by which `dtype: auto` decides


def encode(
    pictures: Sequence[bytes | None],
    load: Loader,
    batch_size: int,
    device: str,
    log: Log,
    shards: Shards,
    share: Share = ALONE,
) -> tuple[Embedding | None, dict[str, object]]:
    """Embedding of every item that has a picture, and what made it.

    Equal files are encoded once. A shard that is finished is never encoded again, so a run that is killed and started
    anew ends with the same vectors.

    Args:
        pictures: files of item 1..N, None where the item has none; at least one has, and all of them open.
        load: the model.
        batch_size: encoded at a time.
        device: cpu, cuda, ...
        log: called with the progress.
        shards: finished ones are taken from there and put there; the caller drops them once the result is saved.
        share: which of several processes this is; all but the first return no embedding.

    Raises:
        WeightsError: the model does not load, or its vectors are not finite.
    """
    unique = list(dict.fromkeys(picture for picture in pictures if picture is not None))
    model = load(len(unique))
    batches = [list(range(start, min(start + batch_size, len(unique)))) for start in range(0, len(unique), batch_size)]
    sizes = np.full(len(unique), model.tokens, dtype=np.int64)
    planned = sharded.plan(batches, sizes, model.parameters, device)
    key = sharded.key_of([model.record(), model.state, batch_size], device, unique, shards)

    def look(places: Iterable[Batch]) -> Iterator[NDArray[np.float32]]:
        prepared = ahead(lambda batch: model.prepare([unique[place] for place in batch]), places, share.cores)
        return (model.vectors(inputs) for inputs in prepared)

    vectors = sharded.run(planned, look, key, shards, share, log)
    if vectors is None:
        return None, model.record()
    sharded.refuse_infinite(vectors, model.section, model.name)
    rows = {picture: row for row, picture in enumerate(unique)}
    places = [rows[picture] if picture is not None else None for picture in pictures]
    return sharded.spread(vectors, places), model.record()


def ahead(prepare: Callable[[Batch], Any], batches: Iterable[Batch], cores: int) -> Iterator[Any]:
    """What `prepare` makes of each batch, in their order, while the model is busy with those before.

    Args:
        prepare: may run in another thread.
        batches: taken as they are needed.
        cores: for the threads; as many batches, at most MOST_AHEAD, are prepared at a time.
    """
    workers = max(1, min(cores, MOST_AHEAD))
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for batch in batches:
            waiting.append(pool.submit(prepare, batch))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
