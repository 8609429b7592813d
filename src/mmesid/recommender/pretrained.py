"""A pretrained language model as backbone: by hub id, folder, GGUF file, or as packaged weights."""

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError

from mmesid.artifacts import hub, packaged
from mmesid.config import InitCodes
from mmesid.errors import ConfigError, WeightsError
from mmesid.kernels.softmax import multiplies_bfloat16
from mmesid.recommender.backbone import Backbone

KEY = "init_codes.backbone"
NEEDS_BITSANDBYTES = (
    "init_codes.dtype: nf4 needs bitsandbytes: uv pip install 'bitsandbytes>=0.45' (or pip install 'mme-sid[nf4]')"
)
_WORDS = 8192  # whose size is measured
_PER_LAYER = ("layer_types",)  # lists in a configuration that have an entry for each layer


class Pinned(NamedTuple):
    """All that fixes a backbone's weights; it is written as JSON instead of them."""

    name: str  # hub id, folder, .gguf file, or a name of artifacts.packaged
    revision: str | None
    dtype: str
    trust_remote_code: bool
    layers: int | None  # the first so many; None: all
    weights: str | None  # pretrained, or random: drawn anew, and kept with the recommender


def load(settings: InitCodes, device: str, seed: int) -> Backbone:
    """Decoder, tokenizer, chat template; the revision found is recorded.

    Args:
        settings: the `init_codes` section.
        device: cpu or cuda, by which `dtype: auto` decides.
        seed: of `weights: random`.

    Raises:
        WeightsError: the backbone does not exist, cannot be reached, is incomplete, or needs a library that lacks.
        ConfigError: it has fewer layers than `layers` asks for, or a GGUF file or random weights are wanted in 4 bit.
    """
    from transformers import AutoTokenizer

    if is_kept(settings) and settings.dtype == "nf4":
        what = f"{settings.backbone} is" if is_file(settings.backbone) else "random weights are"
        raise ConfigError(f"init_codes.dtype is nf4, but {what} kept unpacked; name another one")

    how = (_dtype(settings.dtype, device), settings.trust_remote_code, settings.layers, settings.weights)
    pinned = Pinned(settings.backbone, settings.revision, *how)
    try:
        commit = None if is_file(pinned.name) else hub.commit_of(pinned.name, pinned.revision)
        pinned = pinned._replace(revision=commit or pinned.revision)
        tokenizer = AutoTokenizer.from_pretrained(**_place(pinned))
    except (OSError, ValueError, KeyError) as error:
        raise _unloadable(pinned, error) from None
    if not tokenizer("some words", add_special_tokens=False)["input_ids"]:
        raise WeightsError(f"{KEY}: {pinned.name} holds no tokenizer: put its tokenizer files beside the weights")
    model = decoder(pinned)
    if settings.weights == "random":
        model = _drawn_anew(model, seed)
    scale = _size_of_words(model)
    return Backbone(model, tokenizer, scale, **pinned._asdict())


def _dtype(named: str, device: str) -> str:
    """`auto`: half the memory and time where the device multiplies bfloat16; frozen weights lose little by it."""
    if named != "auto":
        return named
    return "bfloat16" if multiplies_bfloat16(device) else "float32"


@torch.inference_mode()
def _size_of_words(model: Any) -> float:
    """Root mean square of word embeddings as the first layer gets them: some families scale the table's rows."""
    embed = model.get_input_embeddings()
    some = torch.arange(min(len(embed.weight), _WORDS), device=embed.weight.device)
    return float(embed(some).float().square().mean().sqrt())


def _drawn_anew(model: Any, seed: int) -> Any:
    """The same model as its makers start to train it, frozen alike."""
    torch.manual_seed(seed)
    return type(model)(model.config).to(model.device, model.dtype).eval()


def is_file(name: str) -> bool:
    """Whether a name stands for one file of weights."""
    return name in packaged.LANGUAGE_MODELS or name.endswith(".gguf")


def is_kept(settings: InitCodes) -> bool:
    """Whether the weights are written with the recommender: of a file unpacked, random ones as drawn."""
    return is_file(settings.backbone) or settings.weights == "random"


def decoder(pinned: Pinned) -> Any:
    """The model without its language-model head, to score and not to train; whole or refused.

    Raises:
        WeightsError: as for `load`.
        ConfigError: as for `load`.
    """
    from transformers import AutoModel

    unpacked = is_file(pinned.name)  # in float32, as its packing was made; then in the precision that is wanted
    how = precision("float32" if unpacked else pinned.dtype)
    try:
        model, report = AutoModel.from_pretrained(**_place(pinned), **how, output_loading_info=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _unloadable(pinned, error) from None
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise WeightsError(
            f"{KEY}: {pinned.name} lacks {len(missing)} weights (first: {missing[0]}), which would be random; use a "
            "complete checkpoint"
        )
    if unpacked:
        _forget_quantization(model)
        model = model.to(getattr(torch, pinned.dtype))
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
        raise WeightsError(NEEDS_BITSANDBYTES)
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
        hub.check_whole(Path(pinned.name))
        options = {"revision": pinned.revision, "trust_remote_code": pinned.trust_remote_code}
        return {"pretrained_model_name_or_path": pinned.name, **options}
    file = _gguf(pinned.name)
    if not file.is_file():
        raise WeightsError(f"{KEY}: there is no file {file}")
    packaged.use_reader(pinned.name, KEY)
    hub.check_whole_gguf(file)
    return {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name, "local_files_only": True}


def _unloadable(pinned: Pinned, error: Exception) -> WeightsError:
    expected = (
        f"`embedded`, {', '.join(packaged.LANGUAGE_MODELS)}, a Hugging Face id, a folder with config.json, weights and "
        "tokenizer, or a .gguf file"
    )
    return hub.unloadable(KEY, pinned.name, expected, error)


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
