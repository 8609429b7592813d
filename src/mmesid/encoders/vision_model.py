"""Any vision model of Hugging Face, loaded by transformers alone: pictures -> vectors."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mmesid.artifacts.hub import expanded
from mmesid.artifacts.pictures import decode
from mmesid.config import VisionModel
from mmesid.encoders import hub
from mmesid.encoders.probing import try_pictures

SECTION = "encode_content.transformers"
EXPECTED = "a Hugging Face id or a folder with config.json, preprocessor_config.json and the weights of a vision model"
PROJECTED = ("CLIPVisionModelWithProjection", "MetaClip2VisionModelWithProjection")  # halves that keep the projection
TOKENS = 256  # of a picture where the model does not say, by which its work is judged


class Vision(NamedTuple):
    """A model, what turns pictures into its input, and where both came from."""

    model: Any  # transformers.PreTrainedModel with pixel_values (B, 3, height, width) among its inputs
    process: Any  # transformers.BaseImageProcessor
    features: str  # image_features, projection, pooler, cls or mean
    section: str  # of the parameters, for messages
    name: str  # as the parameters name it
    revision: str | None  # commit of a hub model
    state: str  # of the files in a local folder: changes with them

    def record(self) -> dict[str, Any]:
        """What decided the vectors, for people and for the keys of shards."""
        return {
            "model": self.name,
            "revision": self.revision,
            "features": self.features,
            "normalize": True,
            "preprocessing": preprocessing(self.process),
            "dtype": hub.dtype_name(self.model),
        }

    @property
    def parameters(self) -> int:
        """Numbers that the part which sees has learned."""
        return hub.parameters(getattr(self.model, "vision_model", self.model))

    @property
    def tokens(self) -> int:
        """Of a picture: its patches."""
        config = getattr(self.model.config, "vision_config", self.model.config)
        side, patch = getattr(config, "image_size", None), getattr(config, "patch_size", None)
        return (side // patch) ** 2 if isinstance(side, int) and isinstance(patch, int) else TOKENS

    def prepare(self, pictures: Sequence[bytes]) -> dict[str, Tensor]:
        """Picture files as the model's input, on the CPU."""
        inputs = self.process(images=[decode(picture) for picture in pictures], return_tensors="pt")
        return dict(inputs)

    def vectors(self, inputs: dict[str, Tensor]) -> NDArray[np.float32]:
        """Of a few prepared pictures, (B, D)."""
        return embed(self, inputs)


def load(settings: VisionModel, pictures: int, device: str) -> Vision:
    """The model that the settings name, ready to encode.

    Args:
        settings: `model` is a hub id or a local folder.
        pictures: how many there are to encode, by which `dtype: auto` decides.
        device: cpu, cuda, ...

    Raises:
        WeightsError: the model is not here, cannot be reached, is incomplete, sees no pictures, or not alike
            each time.
    """
    import transformers
    from transformers import AutoConfig, AutoImageProcessor, AutoModel

    name = expanded(settings.model)
    with hub.explained(f"{SECTION}.model", name, EXPECTED):
        commit, pinned = hub.pin(name, settings.revision)
        options = pinned | {"trust_remote_code": settings.trust_remote_code}
        config = AutoConfig.from_pretrained(name, **options)
        process = AutoImageProcessor.from_pretrained(name, **options)
        halves = [kind for kind in config.architectures or () if kind in PROJECTED]
        kind = getattr(transformers, halves[0]) if halves and not hasattr(config, "vision_config") else AutoModel
        model, missing = hub.pretrained(kind, name, config=config, **options)
        features = choose_features(model, missing, settings.features)
        found = Vision(model.eval(), process, features, SECTION, name, commit, hub.state_of(Path(name)))
        return ready(found, settings.dtype, pictures, device)


def ready(vision: Vision, dtype: str, pictures: int, device: str) -> Vision:
    """On the device, in the precision that is asked for or pays, and tried.

    Raises:
        ValueError: it cannot encode pictures, or not twice alike.
    """
    chosen = hub.choose_dtype(dtype, vision.parameters * pictures, device)
    found = vision._replace(model=vision.model.to(device=device, dtype=chosen))
    try_pictures(found)
    return found


def choose_features(model: Any, missing: Sequence[str], wanted: str) -> str:
    """What of the model's output is a picture's vector.

    Args:
        model: as loaded.
        missing: names of weights that its checkpoint lacks. Many a ViT comes without its pooler.
        wanted: pooler, cls, mean or auto.

    Raises:
        ValueError: weights that are needed would be random, or the model takes no pictures.
    """
    seen = hasattr(model, "get_image_features")
    if not seen and "pixel_values" not in inspect.signature(model.forward).parameters:
        raise ValueError(f"a {model.config.model_type} takes no pictures")
    pooler = {name for name in missing if name.startswith("pooler.")}
    hub.refuse_random({name for name in missing if not name.endswith("mask_token")} - pooler)
    if wanted == "pooler":
        hub.refuse_random(pooler)
    if wanted != "auto":
        return wanted
    if type(model).__name__ in PROJECTED:
        return "projection"
    return "image_features" if seen else "cls" if pooler else "pooler"


@torch.inference_mode()
def embed(vision: Vision, inputs: dict[str, Tensor]) -> NDArray[np.float32]:
    """Unit-length vectors of a few pictures, (B, D).

    Args:
        vision: on the device where it shall run.
        inputs: as the model's own preprocessing made them.
    """
    dtype, device = vision.model.dtype, vision.model.device
    moved = {
        name: value.to(device, dtype, non_blocking=True) if value.is_floating_point() else value.to(device)
        for name, value in inputs.items()
    }
    if vision.features == "image_features":
        output = vision.model.get_image_features(**moved)
        found = output if isinstance(output, Tensor) else output.pooler_output
    elif vision.features == "projection":
        found = vision.model(**moved).image_embeds
    else:
        found = _pick(getattr(vision.model, "vision_model", vision.model)(**moved), vision.features)
    unit = functional.normalize(found.float().flatten(1), dim=-1)
    return np.asarray(unit.cpu().numpy(), dtype=np.float32)


def preprocessing(process: Any) -> dict[str, Any]:
    """What decides how a picture becomes numbers, as preprocessor_config.json has it."""
    kept = ("size", "crop_size", "resample", "image_mean", "image_std", "rescale_factor", "do_center_crop", "do_resize")
    values = process.to_dict()
    return {name: values[name] for name in kept if values.get(name) is not None}


def _pick(output: Any, features: str) -> Tensor:
    """One vector a picture: (B, D) from the tokens (B, S, D), or from what the model pooled, (B, D, ...)."""
    if features == "pooler":
        pooled: Tensor | None = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled
        features = "mean"
    tokens: Tensor = output.last_hidden_state
    if tokens.ndim > 3:  # (B, D, height, width)
        tokens = tokens.flatten(2).transpose(1, 2)
    return tokens[:, 0] if features == "cls" else tokens.mean(1)
