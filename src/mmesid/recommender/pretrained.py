"""A pretrained language model as backbone: by hub id, folder, GGUF file, or as packaged weights."""

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError

from mmesid.artifacts import packaged
from mmesid.config import InitCodes
from mmesid.errors import ConfigError, WeightsError, first_line
from mmesid.recommender.backbone import Backbone

KEY = "init_codes.backbone"
_WORDS = 8192  # whose size is measured
_PER_LAYER = ("layer_types",)  # lists in a configuration that have an entry for each layer


class Pinned(NamedTuple):
    """All that fixes a backbone's weights; it is written as JSON instead of them."""

    name: str  # hub id, folder, .gguf file, or a name of artifacts.packaged
    revision: str | None
    dtype: str
    trust_remote_code: bool
    layers: int | None  # the first so many; None: all


def load(settings: InitCodes) -> Backbone:
    """Decoder, tokenizer, chat template; the revision found is recorded.

    Raises:
        WeightsError: the backbone does not exist, cannot be reached, is incomplete, or needs a library that lacks.
        ConfigError: it has fewer layers than `layers` asks for.
    """
    from transformers import AutoTokenizer

    pinned = Pinned(settings.backbone, settings.revision, settings.dtype, settings.trust_remote_code, settings.layers)
    try:
        pinned = pinned._replace(revision=_commit(pinned) or pinned.revision)
        tokenizer = AutoTokenizer.from_pretrained(**_place(pinned))
    except (OSError, ValueError, KeyError) as error:
        raise _unloadable(pinned, error) from None
    if not tokenizer("some words", add_special_tokens=False)["input_ids"]:
        raise WeightsError(f"{KEY}: {pinned.name} holds no tokenizer: put its tokenizer files beside the weights")
    model = decoder(pinned)
    scale = _size_of_words(model)
    return Backbone(model, tokenizer, scale, **pinned._asdict())


def _commit(pinned: Pinned) -> str | None:
    """The commit that a revision of a hub backbone stands for now, None for files."""
    from transformers.utils import cached_file, extract_commit_hash

    if is_file(pinned.name) or Path(pinned.name).is_dir():
        return None
    config = cached_file(pinned.name, "config.json", revision=pinned.revision)
    commit: str | None = extract_commit_hash(config, None)
    return commit


@torch.inference_mode()
def _size_of_words(model: Any) -> float:
    """Root mean square of word embeddings as the first layer gets them: some families scale the table's rows."""
    embed = model.get_input_embeddings()
    some = torch.arange(min(len(embed.weight), _WORDS), device=embed.weight.device)
    return float(embed(some).float().square().mean().sqrt())


def is_file(name: str) -> bool:
    """Whether a name stands for one file of weights, which is kept unpacked with the recommender."""
    return name in packaged.LANGUAGE_MODELS or name.endswith(".gguf")


def decoder(pinned: Pinned) -> Any:
    """The model without its language-model head, to score and not to train; whole or refused.

    Raises:
        WeightsError: as for `load`.
        ConfigError: as for `load`.
    """
    from transformers import AutoModel

    try:
        model, report = AutoModel.from_pretrained(**_place(pinned), **precision(pinned.dtype), output_loading_info=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _unloadable(pinned, error) from None
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise WeightsError(
            f"{KEY}: {pinned.name} lacks {len(missing)} weights (first: {missing[0]}), which would be random; use a "
            "complete checkpoint"
        )
    if is_file(pinned.name):
        _forget_quantization(model)
    if pinned.layers is not None:
        _cut(model, pinned)
    return model.eval()


def precision(dtype: str) -> dict[str, Any]:
    """What `from_pretrained` needs for frozen weights in float32, bfloat16 or 4-bit NF4 with bfloat16 compute.

    Raises:
        WeightsError: nf4 without bitsandbytes.
    """
    if dtype != "nf4":
        return {"dtype": getattr(torch, dtype)}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise WeightsError("init_codes.dtype: nf4 needs bitsandbytes (pip install 'mme-sid[nf4]')")
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"dtype": torch.bfloat16, "quantization_config": quantization}


def _gguf(name: str) -> Path:
    """The file that a name stands for."""
    return packaged.locate(name, KEY) if name in packaged.LANGUAGE_MODELS else Path(name)


def _place(pinned: Pinned) -> dict[str, Any]:
    """What `from_pretrained` takes: a file in a folder, or a folder or hub id with its revision."""
    if not is_file(pinned.name):
        options = {"revision": pinned.revision, "trust_remote_code": pinned.trust_remote_code}
        return {"pretrained_model_name_or_path": pinned.name, **options}
    file = _gguf(pinned.name)
    if not file.is_file():
        raise WeightsError(f"{KEY}: there is no file {file}")
    if importlib.util.find_spec("gguf") is None:
        raise WeightsError(
            f"{KEY}: {pinned.name} is a GGUF file, which is read by a library: pip install 'mme-sid[gguf]'"
        )
    return {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name, "local_files_only": True}


def _unloadable(pinned: Pinned, error: Exception) -> WeightsError:
    names = ", ".join(packaged.LANGUAGE_MODELS)
    return WeightsError(
        f"{KEY}: expected `embedded`, {names}, a Hugging Face id, a folder with config.json, weights and tokenizer, or "
        f"a .gguf file; {pinned.name!r} does not load ({first_line(error)})"
    )


def _forget_quantization(model: Any) -> None:
    """The weights of a GGUF file are whole once they are read; the marks of their packing would forbid training."""
    for owner, mark in ((model, "hf_quantizer"), (model, "is_quantized"), (model.config, "quantization_config")):
        if hasattr(owner, mark):
            delattr(owner, mark)


def _cut(model: Any, pinned: Pinned) -> None:
    """Keep the first layers. What stands behind them, the last norm, stays."""
    layers = getattr(model, "layers", None)
    if layers is None:
        raise ConfigError(f"init_codes.layers: {pinned.name} does not hold its layers in a list that can be cut")
    if pinned.layers is None or pinned.layers > len(layers):
        raise ConfigError(f"init_codes.layers is {pinned.layers}, but {pinned.name} has {len(layers)} layers")
    model.layers = layers[: pinned.layers]
    model.config.num_hidden_layers = pinned.layers
    for name in _PER_LAYER:
        if (per_layer := getattr(model.config, name, None)) is not None:
            setattr(model.config, name, per_layer[: pinned.layers])
