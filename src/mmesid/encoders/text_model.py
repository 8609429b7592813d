"""Any text-embedding model of Hugging Face, loaded by transformers alone: texts -> vectors."""

import inspect
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmesid.artifacts import packaged
from mmesid.artifacts.hub import expanded
from mmesid.config import SentenceTransformers
from mmesid.encoders import hub
from mmesid.encoders.probing import try_texts
from mmesid.encoders.text_dense import load_dense
from mmesid.encoders.text_recipe import (
    SECTION,
    Pooling,
    ReadFile,
    Recipe,
    folder_reader,
    read_recipe,
    transformer_folder,
)
from mmesid.errors import WeightsError


class TextModel(NamedTuple):
    """A model, its tokenizer, how to use both, and where they came from."""

    model: Any  # transformers.PreTrainedModel: (B, S) -> last_hidden_state (B, S, C)
    tokenizer: Any  # transformers.PreTrainedTokenizerBase
    recipe: Recipe
    dense: nn.Sequential  # (B, C) -> (B, D), float32; D = C where the recipe names none
    max_tokens: int
    name: str  # as the parameters name it
    revision: str | None  # commit of a hub model, version of a packaged one
    state: str  # of the files in a local folder: changes with them

    def record(self) -> dict[str, Any]:
        """What decided the vectors, for people and for the keys of shards."""
        made = {
            "model": self.name,
            "revision": self.revision,
            "pooling": self.recipe.pooling,
            "normalize": self.recipe.normalize,
            "prompt": self.recipe.prompt,
            "read_from": self.recipe.source,
            "max_tokens": self.max_tokens,
            "dtype": hub.dtype_name(self.model),
        }
        more = {"lower_case": self.recipe.lower_case, "dense": list(self.recipe.dense)}
        return made | {name: value for name, value in more.items() if value}

    @property
    def section(self) -> str:
        """Of the parameters."""
        return SECTION

    @property
    def parameters(self) -> int:
        """Numbers that the model has learned."""
        return hub.parameters(self.model)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text with its prompt, cut as they are when it is encoded."""
        prepared = self.recipe.prepare(texts)
        found = self.tokenizer(prepared, truncation=True, max_length=self.max_tokens, return_attention_mask=False)
        return [len(tokens) for tokens in found["input_ids"]]

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Of a few texts of alike length, (B, D)."""
        return embed(self, texts)


def load(settings: SentenceTransformers, texts: int, device: str) -> TextModel:
    """The model that the settings name, ready to encode.

    Args:
        settings: `model` is a packaged one, a hub id or a local folder.
        texts: how many there are to encode, by which `dtype: auto` decides.
        device: cpu, cuda, ...

    Raises:
        WeightsError: the model is not here, cannot be reached, is incomplete, works in a way that is not supported, or
            gives no text a vector of its own.
    """
    name = settings.model
    is_packaged = name in packaged.TEXT_MODELS
    where = str(packaged.locate(name, f"{SECTION}.model")) if is_packaged else expanded(name)
    known = ", ".join(packaged.TEXT_MODELS)
    expected = f"{known}, a Hugging Face id or a folder with config.json, weights and tokenizer"
    with hub.explained(f"{SECTION}.model", name, expected):
        commit, pinned = hub.pin(where, settings.revision)
        find = partial(hub.optional_file, where, **pinned)
        read = folder_reader(find)
        options = pinned | {"trust_remote_code": settings.trust_remote_code}
        config, tokenizer, model = _load(where, subfolder=transformer_folder(read).rstrip("/"), **options)
        recipe = _recipe(read, config, settings)
        dense = load_dense(recipe.dense, read, find, config.get_text_config().hidden_size).to(device)
        _prepare_padding(tokenizer, recipe.pooling, name)
        dtype = hub.choose_dtype(settings.dtype, hub.parameters(model) * texts, device)
        model = model.to(device=device, dtype=dtype).eval()
        revision = packaged.PACKAGED[name].version if is_packaged else commit
        limits = (settings.max_tokens, recipe.max_tokens, tokenizer.model_max_length, hub.positions(model))
        max_tokens = min(limit for limit in limits if limit and limit > 0)  # XLNet has -1 positions: any number
        found = TextModel(model, tokenizer, recipe, dense, max_tokens, name, revision, hub.state_of(Path(where)))
        try_texts(found)
    return found


@torch.inference_mode()
def embed(model: TextModel, texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of a few texts of alike length, (B, D).

    Args:
        model: on the device where it shall run.
        texts: without prompt.
    """
    tokens = model.tokenizer(
        model.recipe.prepare(texts), padding=True, truncation=True, max_length=model.max_tokens, return_tensors="pt"
    ).to(model.model.device)
    mask = tokens["attention_mask"]  # (B, S)
    accepted = inspect.signature(model.model.forward).parameters
    given = {key: value for key, value in tokens.items() if key in accepted}
    if model.tokenizer.padding_side == "left" and "position_ids" in accepted:
        places = (mask.cumsum(1) - 1).clamp(min=0)  # each text counts from its own first token
        given["position_ids"] = places + hub.first_position(model.model)
    if "use_cache" in accepted:
        given["use_cache"] = False
    hidden = model.model(**given).last_hidden_state.float()  # (B, S, C)
    pooled = model.dense(pool(hidden, mask, model.recipe.pooling))  # (B, D)
    vectors = functional.normalize(pooled, dim=-1) if model.recipe.normalize else pooled
    return np.asarray(vectors.cpu().numpy(), dtype=np.float32)


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Token vectors -> one vector a text.

    Args:
        hidden: (B, S, D).
        mask: (B, S), 0 where padding stands, on either side.
        pooling: mean over the text's tokens, its first (cls) or its last one.
    """
    if pooling == "mean":
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)
    places = mask.argmax(1) if pooling == "cls" else mask.shape[1] - 1 - mask.flip(1).argmax(1)  # (B,)
    return hidden[torch.arange(len(hidden), device=hidden.device), places]


def _load(where: str, **options: Any) -> tuple[Any, Any, Any]:
    """Configuration, tokenizer and model; the weights in the precision they are stored in."""
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer

    config = AutoConfig.from_pretrained(where, **options)
    tokenizer = AutoTokenizer.from_pretrained(where, **options)
    loader = AutoModelForTextEncoding if _has_encoder(config) else AutoModel
    if config.is_encoder_decoder and loader is AutoModel:
        raise ValueError(f"a {config.model_type} has an encoder and a decoder that are not separable")
    model, missing = hub.pretrained(loader, where, config=config, **options)
    hub.refuse_random([key for key in missing if not key.startswith("pooler.")])  # which is not used here
    return config, tokenizer, model


def _recipe(read: ReadFile, config: Any, settings: SentenceTransformers) -> Recipe:
    pooling: Pooling | None = None if settings.pooling == "auto" else settings.pooling
    return read_recipe(read, _is_decoder(config), pooling, settings.prompt)


def _has_encoder(config: Any) -> bool:
    """Whether models of this type have an encoder that works without their decoder, as T5's."""
    from transformers.models.auto import modeling_auto

    kind = modeling_auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES.get(config.model_type, "")
    return str(kind).endswith("EncoderModel")


def _is_decoder(config: Any) -> bool:
    """Whether models of this type exist to continue a text, and not to fill gaps in it."""
    from transformers.models.auto import modeling_auto

    continues = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    fills = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return config.model_type in continues and config.model_type not in fills


def _prepare_padding(tokenizer: Any, pooling: Pooling, name: str) -> None:
    """Padding behind the text, or before it where the last token speaks for it."""
    tokenizer.padding_side = "left" if pooling == "last" else "right"
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise WeightsError(f"{SECTION}.model: the tokenizer of {name} has neither a padding nor an end token")
        tokenizer.pad_token = tokenizer.eos_token
