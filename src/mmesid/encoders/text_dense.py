"""The Dense modules of sentence-transformers: linear layers that the pooled vector of a text goes through."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Find = Callable[[str], str | None]  # name of a file beside the weights -> where it lies, None where there is none

KNOWN = ("in_features", "out_features", "bias", "activation_function", "module_input_name", "module_output_name")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
BETWEEN = "sentence_embedding"  # what a module takes and gives unless its configuration says otherwise


def load_dense(folders: Sequence[str], read: Callable[[str], Any | None], find: Find, width: int) -> nn.Sequential:
    """The layers, each with its activation, in float32: (B, C) -> (B, D).

    Args:
        folders: of the modules, in their order; without any, vectors stay as they are.
        read: JSON of one of the model's files.
        find: one of the model's files.
        width: C, of the model's token vectors.

    Raises:
        ValueError: a module lacks a file, has another activation than one of torch, reads vectors of another width, or
            has an option that is not known here, such as `use_residual`.
    """
    layers: list[nn.Module] = []
    for folder in folders:
        settings = read(f"{folder}/config.json") or {}
        used = {settings.get(name, BETWEEN) for name in ("module_input_name", "module_output_name")}
        if used - {BETWEEN, None}:
            raise ValueError(
                f"its {folder} works on {', '.join(sorted(used - {BETWEEN, None}))}, not on a text's vector"
            )
        if unknown := [f"{name}: {value}" for name, value in settings.items() if value and name not in KNOWN]:
            raise ValueError(f"its {folder} has {', '.join(unknown)}, which is not implemented here")
        if settings.get("in_features") != width:
            raise ValueError(f"its {folder} reads vectors of {settings.get('in_features')} numbers, they have {width}")
        width = settings["out_features"]
        linear = nn.Linear(settings["in_features"], width, bias=settings.get("bias", True))
        weights = {name.removeprefix("linear."): value.float() for name, value in _weights(folder, find).items()}
        expected, found = (
            {name: tuple(value.shape) for name, value in each.items()} for each in (linear.state_dict(), weights)
        )
        if expected != found:
            raise ValueError(f"its {folder} has weights {found}, by its config.json they are {expected}")
        linear.load_state_dict(weights)
        layers += [linear, _activation(folder, settings.get("activation_function", "torch.nn.modules.activation.Tanh"))]
    return nn.Sequential(*layers).eval()


def _weights(folder: str, find: Find) -> dict[str, Tensor]:
    """Of safetensors where there are, else of a pickle that may hold tensors alone."""
    from safetensors.torch import load_file

    path = next((found for name in WEIGHTS if (found := find(f"{folder}/{name}"))), None)
    if path is None:
        raise ValueError(f"its {folder} has neither {' nor '.join(WEIGHTS)}")
    if Path(path).suffix == ".safetensors":
        weights: dict[str, Tensor] = load_file(path)
    else:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def _activation(folder: str, name: str) -> nn.Module:
    """By the full name of its class, which must be one of torch: no other code is run."""
    module, _, kind = name.rpartition(".")
    found = getattr(nn, kind, None)
    if module not in ("torch.nn", "torch.nn.modules.activation", "torch.nn.modules.linear") or found is None:
        raise ValueError(f"its {folder} has the activation {name}; supported are those of torch.nn")
    activation: nn.Module = found()
    return activation
