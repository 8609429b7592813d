"""Several processes around one recommender: who wraps it, who ranks whom, and tensors that are spread over processes.

`accelerate` runs the processes; DDP copies the model into each, FSDP2 spreads it over them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import Module, Parameter

from mmesid.config import EMBEDDED, Finetune, sizes
from mmesid.errors import ConfigError
from mmesid.evaluation.ranking import judge, users_at_a_time
from mmesid.kernels.softmax import multiplies_bfloat16
from mmesid.recommender.adapter import trainable
from mmesid.recommender.inference import Scorer
from mmesid.recommender.model import Recommender

# Called beside forward; they too need the parameters.
_FORWARD_METHODS = ("represent", "sizes", "prompt_cache", "fused_items")

_NAMES = {"flex": "flex_attention"}  # of attention, where transformers has another one
_KNOWS = {"sdpa": "_supports_sdpa", "flex": "_supports_flex_attn"}  # marks by which a family tells what it knows

MakeOptimizer = Callable[[Mapping[str, Parameter], Finetune, bool], torch.optim.Optimizer]


def make_accelerator(device: str, settings: Finetune, scores: int) -> Accelerator:
    """The processes that this one belongs to (by the launcher's environment), how they share, and the precision.

    Args:
        device: cpu or cuda.
        settings: `precision` and `sharding`.
        scores: of a step, by which `auto` decides: rounding few gains nothing and makes results depend on the CPU.
    """
    from accelerate import FullyShardedDataParallelPlugin, PartialState

    cpu = device == "cpu"
    plugin = None
    if settings.sharding == "full" and PartialState(cpu=cpu).num_processes > 1:
        plugin = FullyShardedDataParallelPlugin(fsdp_version=2, auto_wrap_policy=_is_decoder_layer)
    many = scores >= sizes.MANY_SCORES and multiplies_bfloat16(device)
    narrow = settings.precision == "bfloat16" or (settings.precision == "auto" and many)
    return Accelerator(cpu=cpu, mixed_precision="bf16" if narrow else "no", fsdp_plugin=plugin)


def prepare(
    model: Recommender, settings: Finetune, accelerator: Accelerator, make_optimizer: MakeOptimizer
) -> tuple[Module, torch.optim.Optimizer]:
    """Choose the attention and the compiler's part, spread the model, and build its optimizer.

    Returns:
        What to call for the loss, and the optimizer over the trainable parameters.
    """
    backbone: Any = model.backbone
    if settings.gradient_checkpointing:
        backbone.gradient_checkpointing_enable({"use_reentrant": False})
    model.attention = _attention(model, settings.attention, accelerator)
    backbone.set_attn_implementation(_NAMES.get(model.attention, model.attention))
    if settings.compile:
        backbone.compile(dynamic=True)
    pretrained = model.blueprint.backbone != EMBEDDED
    wrapped, optimizer = accelerator.prepare(model, make_optimizer(trainable(model), settings, pretrained))
    if accelerator.is_fsdp2:
        from torch.distributed.fsdp import register_fsdp_forward_method

        for name in _FORWARD_METHODS:
            register_fsdp_forward_method(wrapped, name)
    return wrapped, optimizer


def _attention(model: Recommender, wanted: str, accelerator: Accelerator) -> str:
    """As the settings say, or the fastest that the backbone's family knows; every one knows plain products."""
    named = wanted if wanted != "auto" else _fastest_attention(accelerator)
    if getattr(model.backbone, _KNOWS.get(named, ""), True):
        return named
    if wanted == "auto":
        return "eager"
    name = model.blueprint.backbone
    raise ConfigError(
        f"finetune.attention is {wanted}, which {name} (init_codes.backbone) does not know; auto, or eager"
    )


def _fastest_attention(accelerator: Accelerator) -> str:
    """A CPU's fused kernel takes four times as long as plain products in bfloat16, forward and backward together."""
    if accelerator.device.type == "cuda":
        return "flex"
    return "eager" if accelerator.mixed_precision == "bf16" else "sdpa"


def rank_shared(
    model: Recommender,
    histories: Sequence[NDArray[np.int64]],
    targets: NDArray[np.int64],
    exclude_history: bool,
    accelerator: Accelerator,
) -> NDArray[np.int64]:
    """Rank of each user's target, (B,): every process ranks its users, every user once, and all get all ranks."""
    mine = slice(accelerator.process_index, None, accelerator.num_processes)
    users = users_at_a_time(model.blueprint.n_items)
    ranks = judge(Scorer(model), histories[mine], targets[mine], exclude_history, users).ranks
    whole_ranks = np.empty(len(targets), dtype=np.int64)
    for process, part in enumerate(gather_object([ranks])):
        whole_ranks[process :: accelerator.num_processes] = part
    return whole_ranks


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be spread over processes, as one; every process must ask for it."""
    tensor = torch.as_tensor(tensor).detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor, placed and spread as `parameter` is."""
    moved = tensor.to(device=parameter.device, dtype=parameter.dtype, copy=True)
    if not isinstance(parameter, DTensor):
        return moved
    return distribute_tensor(moved, parameter.device_mesh, parameter.placements)


def _is_decoder_layer(module: Module, recurse: bool, **kwargs: Any) -> bool:
    """The unit that FSDP gathers at a time; everything around the layers is gathered together."""
    return recurse or type(module).__name__.endswith("DecoderLayer")
