"""Whether a foreign backbone can be trained packed: some families overlook a mask, and nothing would say so later."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmesid.artifacts.windows import Window
from mmesid.errors import MmesidError, WeightsError, first_line
from mmesid.recommender.attention import additive_mask
from mmesid.recommender.backbone import Backbone
from mmesid.recommender.packing import pack_rows
from mmesid.recommender.prompt import Prompt
from mmesid.recommender.source import KEY

LENGTHS = (5, 3, 4)  # items of the users that are tried together
LAYERS = 8  # the first so many are tried: a family's kinds of layers recur in fewer
TOLERANCE = 0.01  # of the relative difference in float32: 1e-6 is usual, one layer without its mask makes .05
ROUNDED = 0.02  # where four bits are multiplied in bfloat16: usual is .002 after one layer and .014 after thirty
_WINDOWED = ("sliding_attention", "chunked_attention")  # kinds of layers
_WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")  # names of what such a layer sees


def check_packing(backbone: Backbone, prompt: Prompt) -> None:
    """Run a few drawn users packed in one row and each by itself, and compare what the backbone says of them.

    Args:
        backbone: as loaded.
        prompt: around the items.

    Raises:
        WeightsError: they differ, so that users packed together would see each other, or it cannot be run on items.
    """
    rows, most = len(backbone.model.get_input_embeddings().weight), max((*prompt.before, *prompt.after), default=0)
    if most >= rows:
        raise WeightsError(
            f"{KEY}: the tokenizer of {backbone.name} has a token {most:,}, its weights know {rows:,}; take both from "
            "one checkpoint"
        )
    windows = [_window(first, length) for first, length in zip((1, 6, 9), LENGTHS, strict=True)]
    draw = torch.randn(1 + sum(LENGTHS), backbone.model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    words = backbone.model.get_input_embeddings()
    items = (draw * backbone.input_scale).to(words.weight.device)
    try:
        with _first_layers_in_float32(backbone.model), torch.inference_mode():
            packed = _packed(backbone, windows, prompt, items)
            alone = torch.stack([_alone(backbone, prompt, items[window.items]) for window in windows])
    except (MmesidError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of a family that knows no such mask
        raise WeightsError(
            f"{KEY}: {backbone.name} fails on items that are packed in one row ({first_line(error)}): it must take "
            "vectors in place of tokens, positions, and a mask of four dimensions; choose another backbone"
        ) from None
    difference = ((packed - alone).norm() / alone.norm()).item()
    if not difference <= (ROUNDED if backbone.dtype == "nf4" else TOLERANCE):
        raise WeightsError(
            f"{KEY}: {backbone.name} does not keep users apart that are packed in one row (each differs by "
            f"{difference:.0%} from what it is alone): it reads what follows, as encoders do, or overlooks the mask of "
            "four dimensions or the positions that it is given; choose another backbone"
        )


def check_window(backbone: Backbone, prompt: Prompt, history_length: int) -> None:
    """Refuse layers that see fewer tokens than a user has: the mask of packed rows takes the place of their window.

    Args:
        backbone: as loaded.
        prompt: around the items.
        history_length: items of a user, at most.

    Raises:
        WeightsError: there are such.
    """
    config = backbone.model.config
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and not set(kinds) & set(_WINDOWED):
        return
    windows = [window for name in _WINDOWS if isinstance(window := getattr(config, name, None), int)]
    tokens = len(prompt.before) + history_length + len(prompt.after)
    if windows and tokens > min(windows):
        raise WeightsError(
            f"protocol.history_length is {history_length}, with the prompt {tokens} tokens, but layers of "
            f"{backbone.name} (init_codes.backbone) see a sliding window of {min(windows)}: lower it by "
            f"{tokens - min(windows)} or more, or choose another backbone"
        )


@contextmanager
def _first_layers_in_float32(model: Any) -> Iterator[None]:
    """Rounding would hide what a layer overlooks; packed bits and the table of words stay as they are."""
    layers, words = getattr(model, "layers", None), model.get_input_embeddings().weight
    if layers is not None:
        model.layers = layers[:LAYERS]
    rounded = [(weight, weight.data) for weight in model.parameters() if weight is not words]
    rounded = [(weight, data) for weight, data in rounded if data.dtype in (torch.bfloat16, torch.float16)]
    try:
        for weight, data in rounded:
            weight.data = data.float()
        yield
    finally:
        for weight, data in rounded:
            weight.data = data
        if layers is not None:
            model.layers = layers


def _window(first: int, length: int) -> Window:
    """One user of whom the last position is a target."""
    items = np.arange(first, first + length)
    return Window(items, np.array([length]), items[-1:])


def _packed(backbone: Backbone, windows: list[Window], prompt: Prompt, items: Tensor) -> Tensor:
    batch = pack_rows([windows], prompt).to(items.device)
    words = backbone.model.get_input_embeddings()(batch.tokens).float()
    inputs = torch.where((batch.items > 0).unsqueeze(-1), items[batch.items], words)
    mask = additive_mask(batch, inputs.dtype)
    hidden = backbone.model(
        inputs_embeds=inputs, attention_mask=mask, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    found: Tensor = hidden[batch.rows, batch.columns].float()
    return found


def _alone(backbone: Backbone, prompt: Prompt, items: Tensor) -> Tensor:
    """As the family itself would run it: no mask, no positions."""
    embed = backbone.model.get_input_embeddings()
    before, after = (embed(torch.tensor(part, dtype=torch.long, device=items.device)) for part in prompt)
    inputs = torch.cat([before.float(), items, after.float()]).unsqueeze(0)
    found: Tensor = backbone.model(inputs_embeds=inputs, use_cache=False).last_hidden_state[0, -1].float()
    return found
