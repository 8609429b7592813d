"""Dense modules behind the pooling, and encoders without their decoders: sentence-t5 and its kin, written out."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, T5EncoderModel

from mmesid.encoders.text_model import embed, load
from mmesid.errors import WeightsError
from tests.encoders.test_text_model import FLAG, TEXTS, settings
from tests.encoders.tiny_text_models import sentence_transformers_files

ACTIVATIONS = "torch.nn.modules.activation."


def add_dense(folder: Path, weights: dict[str, torch.Tensor], in_pickle: bool = False, **values: Any) -> Path:
    """modules.json with a Dense module, and its files."""
    modules = ["Transformer", "Pooling", "Dense", "Normalize"]
    sentence_transformers_files(folder, modules, {FLAG["mean"]: True})
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "config.json").write_text(json.dumps({"in_features": 16, "out_features": 12, **values}))
    if in_pickle:
        torch.save(weights, folder / "2_Dense" / "pytorch_model.bin")
    else:
        save_file(weights, folder / "2_Dense" / "model.safetensors")
    return folder


@pytest.fixture
def copied(tmp_path: Path, tiny_t5: Path) -> Path:
    """A small T5 for a test to add files to."""
    return shutil.copytree(tiny_t5, tmp_path / "t5")


@torch.no_grad()
def pooled(folder: Path) -> torch.Tensor:
    """Of each text alone, the mean over what the encoder makes of its tokens, (B, C)."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), T5EncoderModel.from_pretrained(folder).eval()
    inputs = [tokenizer(text, return_tensors="pt")["input_ids"] for text in TEXTS]
    return torch.stack([model(input_ids=ids).last_hidden_state[0].mean(0) for ids in inputs])


@pytest.mark.parametrize("in_pickle", [True, False])
def test_a_t5_is_its_encoder_and_a_layer_without_bias_or_activation(copied: Path, in_pickle: bool) -> None:
    """As sentence-t5 has them."""
    weight = torch.randn(12, 16, generator=torch.Generator().manual_seed(0))
    values = {"bias": False, "activation_function": "torch.nn.modules.linear.Identity"}
    model = load(settings(add_dense(copied, {"linear.weight": weight}, in_pickle, **values)), 3, "cpu")
    wanted = torch.nn.functional.normalize(pooled(copied) @ weight.T, dim=-1)
    np.testing.assert_allclose(embed(model, TEXTS), wanted.numpy(), atol=1e-5)
    assert model.record()["dense"] == ["2_Dense"]
    assert not any(name.startswith("decoder") for name, _ in model.model.named_parameters())


@pytest.mark.parametrize("named", [{}, {"activation_function": f"{ACTIVATIONS}Tanh", "bias": True}])
def test_a_layer_has_a_bias_and_tanh_unless_it_says_otherwise(copied: Path, named: dict[str, Any]) -> None:
    """As LaBSE has them."""
    draw = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(12, 16, generator=draw), torch.randn(12, generator=draw)
    folder = add_dense(copied, {"linear.weight": weight, "linear.bias": bias}, **named)
    wanted = torch.nn.functional.normalize(torch.tanh(pooled(folder) @ weight.T + bias), dim=-1)
    np.testing.assert_allclose(embed(load(settings(folder), 3, "cpu"), TEXTS), wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"activation_function": "os.system"}, "has the activation os.system; supported are those of torch.nn"),
        ({"in_features": 8}, "reads vectors of 8 numbers, they have 16"),
        ({"out_features": 10}, r"has weights \{.*\}, by its config\.json they are \{"),
        ({"module_input_name": "token_embeddings"}, "works on token_embeddings"),
        ({"use_residual": True}, "has use_residual: True, which is not implemented here"),
    ],
)
def test_a_layer_that_does_not_fit_is_refused(copied: Path, values: dict[str, Any], said: str) -> None:
    folder = add_dense(copied, {"linear.weight": torch.zeros(12, 16)}, **{"bias": False, **values})
    with pytest.raises(WeightsError, match=rf"^encode_content\.sentence_transformers\.model: .*{said}"):
        load(settings(folder), 3, "cpu")


def test_a_layer_without_weights_is_refused(copied: Path) -> None:
    folder = add_dense(copied, {"linear.weight": torch.zeros(12, 16)})
    (folder / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"its 2_Dense has neither model\.safetensors nor pytorch_model\.bin"):
        load(settings(folder), 3, "cpu")


def test_a_decoder_that_is_not_separable_is_refused(copied: Path) -> None:
    from transformers import BartConfig, BartModel

    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "d_model": 8, "vocab_size": 99}
    BartModel(BartConfig(**sizes, **heads)).save_pretrained(copied)
    with pytest.raises(WeightsError, match="a bart has an encoder and a decoder that are not separable"):
        load(settings(copied), 3, "cpu")
