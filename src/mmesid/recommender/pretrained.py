"""A pretrained language model as backbone: by hub id, folder, GGUF file, or as packaged weights."""

import importlib.util
import re
from collections.abc import Callable
from typing import Any

import torch

from mmesid.artifacts import hub
from mmesid.artifacts.hub_bars import Bar
from mmesid.config import InitCodes
from mmesid.errors import ConfigError, WeightsError
from mmesid.kernels.softmax import multiplies_bfloat16
from mmesid.recommender import source
from mmesid.recommender.backbone import Backbone
from mmesid.recommender.source import KEY, Pinned, is_file

NEEDS_BITSANDBYTES = (
    "init_codes.dtype: nf4 needs bitsandbytes: uv pip install 'bitsandbytes>=0.45' (or pip install 'mme-sid[nf4]')"
)
_WORDS = 8192  # whose size is measured
_PER_LAYER = ("layer_types",)  # lists in a configuration that have an entry for each layer

Say = Callable[[str], None]


def _silent(message: str) -> None:
    pass


def load(settings: InitCodes, device: str, seed: int, say: Say = _silent) -> Backbone:
    """Decoder, tokenizer, chat template; the revision found is recorded.

    Args:
        settings: the `init_codes` section.
        device: cpu or cuda, by which `dtype: auto` decides.
        seed: of `weights: random`.
        say: is called with what a person should know and no error stands for.

    Raises:
        WeightsError: the backbone does not exist, cannot be reached, is incomplete, or needs a library that lacks.
        ConfigError: it has fewer layers than `layers` asks for, or a GGUF file or random weights are wanted in 4 bit.
    """
    from transformers import AutoTokenizer

    if is_kept(settings) and settings.dtype == "nf4":
        what = f"{settings.backbone} is" if is_file(settings.backbone) else "random weights are"
        raise ConfigError(f"init_codes.dtype is nf4, but {what} kept unpacked; name another one")

    how = (_dtype(settings.dtype, device), settings.trust_remote_code, settings.layers, settings.weights)
    pinned = Pinned(hub.expanded(settings.backbone), settings.revision, *how)
    with source.loading(pinned.name):
        commit = None if is_file(pinned.name) else hub.commit_of(pinned.name, pinned.revision)
        pinned = pinned._replace(revision=commit or pinned.revision)
        tokenizer = AutoTokenizer.from_pretrained(**source.place(pinned))
        knows_words = hub.knows_words(tokenizer)
    if not knows_words:
        raise WeightsError(f"{KEY}: {pinned.name} holds no tokenizer: put its tokenizer files beside the weights")
    model = decoder(pinned, say)
    if model.config.is_encoder_decoder:
        raise WeightsError(f"{KEY}: {pinned.name} is an encoder with a decoder; name a decoder alone, like a Llama")
    with source.loading(pinned.name):
        if settings.weights == "random":
            model = _drawn_anew(model, seed)
        scale = _size_of_words(model)
    state = None if is_kept(settings) else source.state_of(pinned.name)
    return Backbone(model, tokenizer, scale, **pinned._replace(state=state)._asdict())


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


def is_kept(settings: InitCodes) -> bool:
    """Whether the weights are written with the recommender: of a file unpacked, random ones as drawn."""
    return is_file(settings.backbone) or settings.weights == "random"


def decoder(pinned: Pinned, say: Say = _silent) -> Any:
    """The model without its language-model head, to score and not to train; whole or refused.

    Of a model that sees pictures too, the part that reads text.

    Raises:
        WeightsError: as for `load`, or its folder holds another model than it did.
        ConfigError: as for `load`.
    """
    from transformers import AutoModel

    unpacked = is_file(pinned.name)  # in float32, as its packing was made; then in the precision that is wanted
    how = precision("float32" if unpacked else pinned.dtype)
    source.check_unchanged(pinned)
    with source.loading(pinned.name):
        model, report = AutoModel.from_pretrained(
            **source.place(pinned), **how, output_loading_info=True, tqdm_class=Bar
        )
    if getattr(model, "_hf_peft_config_loaded", False):
        raise WeightsError(
            f"{KEY}: {pinned.name} is an adapter of another model, which fine-tuning would overwrite; merge both first "
            "(peft: `merge_and_unload().save_pretrained(FOLDER)`) and name that folder"
        )
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise WeightsError(
            f"{KEY}: {pinned.name} lacks {len(missing)} weights (first: {missing[0]}), which would be random; use a "
            "complete checkpoint"
        )
    if unused := sorted(name for name in report["unexpected_keys"] if re.search(r"\.\d+\.", name)):
        say(
            f"{KEY}: {pinned.name} has {len(unused)} weights that its config.json has no layer for (first: "
            f"{unused[0]}); they are left out"
        )
    if unpacked:
        _forget_quantization(model)
        model = model.to(getattr(torch, pinned.dtype))
    model = _reader_of_text(model)
    if pinned.layers is not None:
        _cut(model, pinned)
    return model.eval()


def _reader_of_text(model: Any) -> Any:
    """The text decoder of a model that sees pictures too, else the model itself."""
    if getattr(model.config, "text_config", None) is None:
        return model
    text = model.get_decoder()
    text = getattr(text, "model", text) if hasattr(text, "lm_head") else text
    if getattr(model, "is_loaded_in_4bit", False):  # the mark by which adapters know it
        text.is_loaded_in_4bit = True
    return text


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
