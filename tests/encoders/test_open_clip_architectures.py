"""open_clip's kinds of towers, small and with random weights, as a folder that `local-dir:` names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mmesid.encoders import open_clip_encoder
from tests.encoders.test_open_clip_encoder import TEXTS, settings, silent

VIT = {"layers": 1, "width": 16, "head_width": 8, "image_size": 32, "patch_size": 16}
TEXT = {"layers": 1, "width": 16, "heads": 2, "context_length": 12, "vocab_size": 49408}
TIMM = {"timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear", "image_size": 32}
HALF = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
ARCHITECTURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # model, preprocessing
    "ViT-L-14-quickgelu": ({"quick_gelu": True, "vision_cfg": VIT, "text_cfg": TEXT}, {}),
    "RN50": ({"vision_cfg": {**VIT, "layers": [1, 1, 1, 1], "width": 8}, "text_cfg": TEXT}, {}),
    "ViT-H-14-CLIPA": (
        {
            "vision_cfg": {**VIT, "pool_type": "avg", "no_ln_pre": True, "pos_embed_type": "sin_cos_2d"},
            "text_cfg": {**TEXT, "pool_type": "last", "no_causal_mask": True},
        },
        HALF,
    ),
    "ViT-B-16-SigLIP2": (
        {
            "custom_text": True,
            "init_logit_bias": -10.0,
            "vision_cfg": {
                **TIMM,
                "timm_model_name": "vit_tiny_patch16_siglip_test",
                "timm_pool": "map",
                "timm_proj": "none",
            },
            "text_cfg": {**TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
        },
        HALF,
    ),
    "convnext_base": (
        {"vision_cfg": {**TIMM, "timm_model_name": "test_convnext", "timm_pool": "avg"}, "text_cfg": TEXT},
        {},
    ),
    "coca_ViT-L-14": (
        {
            "custom_text": True,
            "vision_cfg": {**VIT, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
            "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
            "multimodal_cfg": {**TEXT, "attn_pooler_heads": 2},
        },
        {},
    ),
}


def register_siglip() -> None:
    """A vision transformer with SigLIP's pooling by attention, too small for timm to have it."""
    from timm.models import register_model
    from timm.models.vision_transformer import VisionTransformer

    def vit_tiny_patch16_siglip_test(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
        kwargs.pop("pretrained_cfg", None), kwargs.pop("pretrained_cfg_overlay", None), kwargs.pop("cache_dir", None)
        size = {"img_size": 32, "patch_size": 16, "embed_dim": 8, "depth": 1, "num_heads": 2, "class_token": False}
        return VisionTransformer(**{**size, "global_pool": "map", **kwargs})

    vit_tiny_patch16_siglip_test.__module__ = __name__
    register_model(vit_tiny_patch16_siglip_test)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_kind_of_tower_loads_and_encodes(name: str, toy, tmp_path: Path) -> None:
    import open_clip

    if name.endswith("SigLIP2"):
        register_siglip()
    torch.manual_seed(3)
    towers, preprocessing = ARCHITECTURES[name]
    config = {"embed_dim": 8, **towers}
    kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CLIP
    if config.pop("custom_text", False) and kind is open_clip.CLIP:
        kind = open_clip.CustomTextCLIP
    weights = {key: value.clone() for key, value in kind(**config).state_dict().items()}  # tied ones too
    save_file(weights, tmp_path / "open_clip_model.safetensors")
    written = {"model_cfg": {"embed_dim": 8, **towers}, "preprocess_cfg": preprocessing}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(written))
    loaded = open_clip_encoder.load_pretrained(settings(f"local-dir:{tmp_path}"), "cpu")
    for key, value in loaded.model.state_dict().items():
        assert torch.equal(value.nan_to_num(), weights[key].nan_to_num()), key  # CoCa leaves one to chance
    text = open_clip_encoder.encode_texts(loaded, TEXTS[:3], "cpu", silent)
    image = open_clip_encoder.encode_pictures(loaded, toy.pictures[:4], "cpu", silent)
    assert image.present.tolist() == [False, False, True, True, True]
    for embedding in (text, image):
        assert embedding.matrix.shape[1] == 8
        np.testing.assert_allclose(np.linalg.norm(embedding.matrix[embedding.present], axis=1), 1, atol=1e-5)
        assert np.ptp(embedding.matrix[embedding.present], axis=0).max() > 1e-6
