"""A catalogue's texts through a text-embedding model: alike lengths together, in shards that survive a kill."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.shards import Shards
from mmesid.artifacts.values import Embedding
from mmesid.encoders import sharded
from mmesid.encoders.open_clip_encoder import shorten
from mmesid.encoders.sharded import ALONE, Batch, Log, Plan, Share

COUNTED = 1024  # texts whose tokens are counted at a time


class Reader(Protocol):
    """A model that reads texts."""

    @property
    def section(self) -> str: ...  # of the parameters, for messages

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> str: ...  # of its files, changes with them

    @property
    def max_tokens(self) -> int: ...

    @property
    def parameters(self) -> int: ...

    def record(self) -> dict[str, Any]:
        """What decided the vectors, for people and for the keys of shards."""
        ...

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, cut as they are when it is encoded."""
        ...

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Of a few texts of alike length, (B, D)."""
        ...


Loader = Callable[[int], Reader]  # told how many texts there are to encode, by which `dtype: auto` decides


def encode(
    texts: Sequence[str],
    load: Loader,
    batch_tokens: int,
    device: str,
    log: Log,
    shards: Shards,
    share: Share = ALONE,
) -> tuple[Embedding | None, dict[str, object]]:
    """Embedding of every item that has a text, and what made it.

    Equal texts are encoded once. A shard that is finished is never encoded again, so a run that is killed and started
    anew ends with the same vectors.

    Args:
        texts: of item 1..N, empty where the item has none; at least one is not.
        load: the model.
        batch_tokens: encoded at a time, padding included.
        device: cpu, cuda, ...
        log: called with the progress.
        shards: finished ones are taken from there and put there; the caller drops them once the result is saved.
        share: which of several processes this is; all but the first return no embedding.

    Raises:
        WeightsError: the model does not load, or its vectors are not finite.
    """
    unique = list(dict.fromkeys(text for text in texts if text))
    model = load(len(unique))
    short = shorten(unique, model.max_tokens)
    planned = plan(token_lengths(model, short), batch_tokens, model.parameters, device)
    pieces = (text.encode(errors="surrogatepass") for text in unique)
    key = sharded.key_of([model.record(), model.state, batch_tokens], device, pieces, shards)

    def read(batches: Iterable[Batch]) -> Iterator[NDArray[np.float32]]:
        return (model.vectors([short[place] for place in batch]) for batch in batches)

    vectors = sharded.run(planned, read, key, shards, share, log)
    if vectors is None:
        return None, model.record()
    sharded.refuse_infinite(vectors, model.section, model.name)
    rows = {text: row for row, text in enumerate(unique)}
    return sharded.spread(vectors, [rows.get(text) for text in texts]), model.record()


def plan(lengths: NDArray[np.int64], batch_tokens: int, parameters: int, device: str) -> Plan:
    """Texts sorted by length, cut into batches of at most `batch_tokens` with padding, and these into shards.

    Args:
        lengths: tokens of each text.
        batch_tokens: of a batch; a single longer text is one by itself.
        parameters: of the model.
        device: cpu, cuda, ...
    """
    batches: list[Batch] = []
    for place in np.argsort(lengths, kind="stable").tolist():  # the next is the longest: it sets the batch's width
        if batches and (len(batches[-1]) + 1) * lengths[place] <= batch_tokens:
            batches[-1].append(place)
        else:
            batches.append([place])
    return sharded.plan(batches, lengths, parameters, device)


def token_lengths(model: Reader, texts: Sequence[str]) -> NDArray[np.int64]:
    """Tokens of each text, at least 1, counted some texts at a time."""
    lengths: list[int] = []
    for start in range(0, len(texts), COUNTED):
        lengths += [max(1, length) for length in model.lengths(texts[start : start + COUNTED])]
    return np.asarray(lengths, dtype=np.int64)
