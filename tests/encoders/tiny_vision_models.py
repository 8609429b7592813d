"""Small vision models and an LLM2CLIP with true architectures and random weights, as `from_pretrained` loads them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.encoders.tiny_text_models import CORPUS

SIDE, PATCH = 16, 8
TOWER = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 99,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
SQUARE = {"height": SIDE, "width": SIDE}
CROPPED = {"size": {"shortest_edge": SIDE}, "crop_size": SQUARE}


def siglip(folder: Path) -> Path:
    """Of pictures and texts; SigLIP 2 with a fixed size has the same classes."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    torch.manual_seed(0)
    SiglipModel(SiglipConfig(text_config=TEXT, vision_config=TOWER)).save_pretrained(folder)
    SiglipImageProcessor(size=SQUARE).save_pretrained(folder)
    return folder


def siglip2_naflex(folder: Path) -> Path:
    """Whose pictures keep their shape: patches, their mask and the shape in patches."""
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    tower = {name: value for name, value in TOWER.items() if name != "image_size"} | {"num_patches": 16}
    torch.manual_seed(0)
    Siglip2Model(Siglip2Config(text_config=TEXT, vision_config=tower)).save_pretrained(folder)
    Siglip2ImageProcessor(patch_size=PATCH, max_num_patches=16).save_pretrained(folder)
    return folder


def clip(folder: Path) -> Path:
    """Of pictures and texts, with a projection to 12 numbers."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=TEXT, vision_config=TOWER, projection_dim=12)).save_pretrained(folder)
    CLIPImageProcessor(**CROPPED).save_pretrained(folder)
    return folder


def dinov2(folder: Path) -> Path:
    """A vision tower alone, whose pooler has no weights."""
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    Dinov2Model(Dinov2Config(**TOWER, initializer_range=0.2)).save_pretrained(folder)
    BitImageProcessor(**CROPPED).save_pretrained(folder)
    return folder


def vit(folder: Path) -> Path:
    """A classifier, as many a ViT is published: without the weights of a pooler."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    ViTForImageClassification(ViTConfig(**TOWER, initializer_range=0.2)).save_pretrained(folder)
    ViTImageProcessor(size=SQUARE).save_pretrained(folder)
    return folder


def convnext(folder: Path) -> Path:
    """Without tokens: its last state is a map."""
    from transformers import ConvNextConfig, ConvNextImageProcessor, ConvNextModel

    torch.manual_seed(0)
    ConvNextModel(ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)).save_pretrained(folder)
    ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=1.0).save_pretrained(folder)
    return folder


VISION: dict[str, Callable[[Path], Path]] = {
    "siglip": siglip,
    "siglip2_naflex": siglip2_naflex,
    "clip": clip,
    "dinov2": dinov2,
    "vit": vit,
    "convnext": convnext,
}


def llm2clip(folder: Path, width: int = 16, out: int = 12) -> tuple[Path, Path]:
    """The two checkpoints as the hub holds them: CLIP without a text tower but with an adapter, and a Llama.

    The configurations name code of their own (`auto_map`), which lies nowhere.
    """
    return _llm2clip_vision(folder / "clip", width, out), _llm2clip_llama(folder / "llama", width)


def _llm2clip_vision(folder: Path, width: int, out: int) -> Path:
    clip(folder)
    (folder / "preprocessor_config.json").unlink()
    weights = {name: value for name, value in load_file(folder / "model.safetensors").items() if "text" not in name}
    weights["visual_projection.weight"] = torch.randn(out, TOWER["hidden_size"])
    draw = torch.Generator().manual_seed(1)
    prefix, hidden = "text_adapter.adaptor.", 2 * width
    for block in range(4):
        for name, shape in (("fn.0.weight", (hidden, width)), ("fn.3.weight", (width, hidden))):
            weights[f"{prefix}{block}.{name}"] = 0.3 * torch.randn(shape, generator=draw)
        weights |= {f"{prefix}{block}.fn.0.bias": torch.zeros(hidden), f"{prefix}{block}.fn.3.bias": torch.zeros(width)}
        weights |= _norm(f"{prefix}{block}.ln", width)
    weights |= _norm(f"{prefix}4", width)
    weights |= {f"{prefix}5.weight": torch.randn(out, width, generator=draw), f"{prefix}5.bias": torch.zeros(out)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _change(folder / "config.json", projection_dim=out, auto_map={"AutoModel": "modeling_clip.LLM2CLIPModel"})
    return folder


def _llm2clip_llama(folder: Path, width: int) -> Path:
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    LlamaModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=llama_tokenizer(), bos_token="<|begin_of_text|>").save_pretrained(folder)
    _change(folder / "config.json", auto_map={"AutoModel": "modeling_llama_encoder.LlamaEncoderModel"})
    return folder


def llama_tokenizer() -> Any:
    """Byte-level BPE with Llama 3's special tokens; every text begins with one."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    special = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    begin = (special[0], 0)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{special[0]} $A", special_tokens=[begin])
    return tokenizer


def _norm(name: str, width: int) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}


def _change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
