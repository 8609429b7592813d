"""Which weights of the backbone are trained: LoRA, all of them, or none."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mmesid.config import Finetune
from mmesid.errors import ConfigError
from mmesid.kernels.dropout import dropout
from mmesid.recommender.model import Recommender

_ADDED_BY = {  # the last linear layers of attention and MLP
    *("o_proj", "down_proj"),  # Llama, Qwen, Gemma, Mistral, Phi-3
    *("dense", "fc2", "out_proj"),  # Phi, OPT
    *("c_proj", "dense_4h_to_h"),  # GPT-2, GPT-NeoX
}
ALL_LINEAR = "all-linear"  # to the library that adds them, for no names


def add_lora(model: Recommender, settings: Finetune) -> None:
    """Freeze the backbone and put low-rank adapters on the named linear layers (Hu et al., arXiv 2106.09685)."""
    from peft import LoraConfig

    check_targets(model.backbone, settings)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.adapter_dropout,
        target_modules=_targets(settings),
    )
    try:
        model.backbone = _wrap(model.backbone, config)
    except ValueError as error:
        raise ConfigError(f"finetune.target_modules does not fit the backbone: {error}") from None


def check_targets(backbone: Any, settings: Finetune) -> None:
    """Each name must be there: a library would leave out those that are not, as long as one is.

    Raises:
        ConfigError: the adapter is to stand on layers that the backbone lacks.
    """
    if settings.adapter != "lora" or settings.target_modules is None:
        return
    named = dict(backbone.named_modules())
    absent = [t for t in settings.target_modules if not any(f".{name}".endswith(f".{t}") for name in named)]
    if absent:
        linear = {name.rpartition(".")[2] for name, module in named.items() if isinstance(module, torch.nn.Linear)}
        raise ConfigError(
            f"finetune.target_modules does not fit the backbone: it has no {', '.join(absent)}; its linear layers are "
            f"{', '.join(sorted(linear)) or 'none by such a name'}; choose among them, or null for all"
        )


def _targets(settings: Finetune) -> list[str] | str:
    return ALL_LINEAR if settings.target_modules is None else list(settings.target_modules)


def train_everything(model: Recommender, settings: Finetune) -> None:
    """Train every weight of the backbone; the word embeddings stay, since only the prompt uses them.

    Weights that were kept in bfloat16 become whole: a step smaller than a 256th of a weight would be rounded away.
    """
    model.backbone.float().requires_grad_(True)
    model.backbone.get_input_embeddings().requires_grad_(False)  # type: ignore[operator]


def freeze(model: Recommender, settings: Finetune) -> None:
    """Train nothing of the backbone: only what stands around it learns."""
    model.backbone.requires_grad_(False)


def adding(backbone: Any) -> list[torch.nn.Module]:
    """The layers whose output is added to the residual stream; empty where none has a name that is known."""
    return [module for name, module in backbone.named_modules() if name.rpartition(".")[2] in _ADDED_BY]


def add_dropout(backbone: Any, rate: float) -> None:
    """Drop entries of what attention and MLP add to the residual stream, while training, beside a family's own."""
    for module in adding(backbone):
        module.register_forward_hook(lambda layer, given, added: dropout(added, rate, layer.training))


ADAPTERS: dict[str, Callable[[Recommender, Finetune], None]] = {
    "lora": add_lora,
    "full": train_everything,
    "frozen": freeze,
}


def adapter_tensors(backbone: Any) -> dict[str, Tensor]:
    """What fine-tuning changes inside the backbone: the adapter's tensors, all weights, or nothing of a frozen one."""
    if not any(weight.requires_grad for weight in backbone.parameters()):
        return {}
    if hasattr(backbone, "peft_config"):
        from peft import get_peft_model_state_dict

        return dict(get_peft_model_state_dict(backbone))
    return dict(backbone.state_dict())


def load_adapter(backbone: Any, tensors: Mapping[str, Tensor], lora: Mapping[str, Any] | None) -> Any:
    """Put fine-tuned tensors back, strictly.

    Args:
        backbone: the backbone before fine-tuning.
        tensors: as `adapter_tensors` gave them.
        lora: the adapter's configuration, None where there was no adapter.

    Returns:
        The fine-tuned backbone.
    """
    if lora is None:
        if tensors:  # a frozen one has none
            backbone.float().load_state_dict(tensors, strict=True)  # as it was trained
        return backbone
    from peft import LoraConfig, set_peft_model_state_dict

    wrapped = _wrap(backbone, LoraConfig(**lora))
    report = set_peft_model_state_dict(wrapped, dict(tensors))
    lacking = [name for name in report.missing_keys if "lora_" in name]
    if lacking or report.unexpected_keys:
        raise RuntimeError(f"adapter does not fit: missing {lacking}, unexpected {report.unexpected_keys}")
    return wrapped


def merge(backbone: Any) -> Any:
    """Fold the adapter into the weights it stands beside, for scoring alone: one product a layer instead of three.

    Only weights in float32 take it up without loss; others keep their adapter, as does a backbone that has none.
    """
    whole = all(weight.dtype == torch.float32 for weight in backbone.parameters())
    return backbone.merge_and_unload() if hasattr(backbone, "peft_config") and whole else backbone


def lora_settings(settings: Finetune) -> dict[str, Any] | None:
    """What `load_adapter` needs to rebuild the adapter; None where there is none."""
    if settings.adapter != "lora":
        return None
    return {"r": settings.rank, "lora_alpha": settings.alpha, "target_modules": _targets(settings)}


def _wrap(backbone: Any, config: Any) -> Any:
    """`get_peft_model`, without the warnings that one library gives about the other, and about what it sets right."""
    from peft import get_peft_model

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set", category=UserWarning)
        return get_peft_model(backbone, config)


def trainable(model: Recommender) -> dict[str, torch.nn.Parameter]:
    """Every parameter that the optimizer moves, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
