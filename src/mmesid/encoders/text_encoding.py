"""A catalogue's texts through a text-embedding model: alike lengths together, in shards that survive a kill."""

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.text_encoding import Shards
from mmesid.artifacts.values import Embedding
from mmesid.config import SentenceTransformers
from mmesid.encoders import text_model
from mmesid.encoders.open_clip_encoder import Log, shorten
from mmesid.encoders.text_model import TextModel
from mmesid.encoders.text_recipe import SECTION
from mmesid.errors import WeightsError

SHARD_WORK = 2e12  # parameters times tokens of a shard: about half a minute of one core
COUNTED = 1024  # texts whose tokens are counted at a time


class Plan(NamedTuple):
    """Which texts are encoded together, by their places: the same for the same texts, whatever is done already."""

    shards: list[list[list[int]]]  # each a list of batches
    lengths: NDArray[np.int64]  # tokens of each text


def encode(
    texts: Sequence[str], settings: SentenceTransformers, device: str, log: Log, shards: Shards
) -> tuple[Embedding, dict[str, object]]:
    """Embedding of every item that has a text, and what made it.

    Equal texts are encoded once. A shard that is finished is never encoded again, so a run that is killed and started
    anew ends with the same vectors.

    Args:
        texts: of item 1..N, empty where the item has none; at least one is not.
        settings: the model and how it is used.
        device: cpu, cuda, ...
        log: called with the progress.
        shards: finished ones are taken from there and put there; the caller drops them once the result is saved.

    Raises:
        WeightsError: the model does not load, or its vectors are not finite.
    """
    present = [place for place, text in enumerate(texts) if text]
    unique = list(dict.fromkeys(texts[place] for place in present))
    model = text_model.load(settings, len(unique), device)
    parameters = sum(weights.numel() for weights in model.model.parameters())
    planned = plan(token_lengths(model, unique), settings.batch_tokens, parameters)
    key = _key(model, settings.batch_tokens, device, unique, shards.fingerprint)
    shards.begin(key)
    vectors = _run(model, shorten(unique, model.max_tokens), planned, key, shards, log)
    if not np.isfinite(vectors).all():
        raise WeightsError(f"{SECTION}: vectors of {model.name} are not finite; set {SECTION}.dtype to float32")
    rows = {text: row for row, text in enumerate(unique)}
    matrix = np.zeros((len(texts) + 1, vectors.shape[1]), dtype=np.float32)
    mask = np.zeros(len(texts) + 1, dtype=np.bool_)
    places = np.asarray(present) + 1
    matrix[places], mask[places] = vectors[[rows[texts[place]] for place in present]], True
    return Embedding(matrix, mask), model.record()


def plan(lengths: NDArray[np.int64], batch_tokens: int, parameters: int) -> Plan:
    """Texts sorted by length, cut into batches of at most `batch_tokens` with padding, and these into shards.

    Args:
        lengths: tokens of each text.
        batch_tokens: of a batch; a single longer text is one by itself.
        parameters: of the model, by which a shard holds more or fewer batches.
    """
    batches: list[list[int]] = []
    for place in np.argsort(lengths, kind="stable").tolist():  # the next is the longest: it sets the batch's width
        if batches and (len(batches[-1]) + 1) * lengths[place] <= batch_tokens:
            batches[-1].append(place)
        else:
            batches.append([place])
    shards: list[list[list[int]]] = []
    work = np.inf
    for batch in batches:
        if work >= SHARD_WORK:
            shards.append([])
            work = 0.0
        shards[-1].append(batch)
        work += float(lengths[batch].sum()) * parameters
    return Plan(shards, lengths)


def token_lengths(model: TextModel, texts: Sequence[str]) -> NDArray[np.int64]:
    """Tokens of each text with its prompt, cut as they are when it is encoded."""
    lengths: list[int] = []
    for start in range(0, len(texts), COUNTED):
        chunk = [model.recipe.prompt + text for text in shorten(texts[start : start + COUNTED], model.max_tokens)]
        found = model.tokenizer(chunk, truncation=True, max_length=model.max_tokens, return_attention_mask=False)
        lengths += [max(1, len(tokens)) for tokens in found["input_ids"]]
    return np.asarray(lengths, dtype=np.int64)


def _run(
    model: TextModel, texts: Sequence[str], planned: Plan, key: str, shards: Shards, log: Log
) -> NDArray[np.float32]:
    """Vectors of all texts, (n, D): finished shards as they are, the others encoded and kept."""
    parts: list[NDArray[np.float32]] = []
    done, total = 0, int(planned.lengths.sum())
    for number, batches in enumerate(planned.shards):
        rows = shards.load(key, number)
        if rows is None:
            encoded = []
            for step, batch in enumerate(batches):
                encoded.append(text_model.embed(model, [texts[place] for place in batch]))
                done += int(planned.lengths[batch].sum())
                log({"progress": done / total}, step)
            rows = np.concatenate(encoded)
            shards.save(key, number, rows)
        else:
            done += sum(int(planned.lengths[batch].sum()) for batch in batches)
            log({"progress": done / total}, number)
        parts.append(rows)
    order = [place for batches in planned.shards for batch in batches for place in batch]
    vectors = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
    vectors[order] = np.concatenate(parts)
    return vectors


def _key(model: TextModel, batch_tokens: int, device: str, texts: Sequence[str], fingerprint: str) -> str:
    """Of all that decides a shard's vectors."""
    facts = [model.record(), model.state, batch_tokens, SHARD_WORK, device, fingerprint]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for text in texts:
        digest.update(f"{len(text)} ".encode() + text.encode(errors="surrogatepass"))
    return digest.hexdigest()
