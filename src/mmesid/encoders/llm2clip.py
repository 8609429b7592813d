"""LLM2CLIP (Huang et al. 2024, arXiv 2411.04997), as the paper's text and image encoder.

A CLIP whose texts are read by a language model: fine-tuned on captions, it attends in both directions, and the mean
over a text's tokens goes through an adapter into the space of the vision tower, 1280 wide for ViT-L/14-336. The CLIP's
checkpoint holds vision tower and adapter (`text_adapter.*`), another one the language model.

The architectures are those of transformers, so no code of the hub is run. The paper's authors keep the vectors'
lengths; here they are brought to length 1, as by every encoder.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmesid.artifacts.hub import expanded
from mmesid.config import Llm2Clip
from mmesid.encoders import hub, vision_model
from mmesid.encoders.probing import try_texts
from mmesid.encoders.vision_model import Vision

SECTION = "encode_content.llm2clip"
BEFORE, AFTER = "<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"  # what it was fine-tuned with, of Llama 3
BLOCK = re.compile(r"^\d+\.fn\.0\.weight$")


class Block(nn.Module):
    """x + W2 GELU(W1 LN(x)), (B, D); the names are those of the checkpoint."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(width)
        self.fn = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        found: Tensor = x + self.fn(self.ln(x))
        return found


class Template(NamedTuple):
    """Tokens around a text; empty where the tokenizer does not know them."""

    before: list[int]  # with the token that begins every text
    after: list[int]


class Texts(NamedTuple):
    """The language model, its tokenizer and the adapter, and where they came from."""

    model: Any  # transformers' LlamaModel, attending in both directions
    tokenizer: Any
    template: Template
    adapter: nn.Sequential  # (B, C) of length 1 -> (B, D), float32
    max_tokens: int
    name: str  # as the parameters name the language model
    revision: str | None
    clip: str  # whose adapter it is
    clip_revision: str | None
    state: str

    def record(self) -> dict[str, Any]:
        """What decided the vectors, for people and for the keys of shards."""
        return {
            "model": self.name,
            "revision": self.revision,
            "adapter": self.clip,
            "adapter_revision": self.clip_revision,
            "pooling": "mean",
            "normalize": True,
            "prompt": BEFORE if self.template.after else "",
            "max_tokens": self.max_tokens,
            "dtype": hub.dtype_name(self.model),
        }

    @property
    def section(self) -> str:
        """Of the parameters."""
        return SECTION

    @property
    def parameters(self) -> int:
        """Numbers that the language model has learned."""
        return hub.parameters(self.model)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text with its template."""
        return [len(tokens) for tokens in self.tokens(texts)]

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Of a few texts of alike length, (B, D)."""
        return read(self, texts)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text in its template; of what is too long the end is cut, not the template's."""
        room = self.max_tokens - len(self.template.before) - len(self.template.after)
        stripped = [text.strip() for text in texts]
        found = self.tokenizer(stripped, add_special_tokens=False, truncation=True, max_length=room)["input_ids"]
        return [[*self.template.before, *inner, *self.template.after] for inner in found]


def load_texts(settings: Llm2Clip, texts: int, device: str) -> Texts:
    """Language model and adapter, ready to encode.

    Args:
        settings: both models are hub ids or local folders.
        texts: how many there are to encode, by which `dtype: auto` decides.
        device: cpu, cuda, ...

    Raises:
        WeightsError: a model is not here, cannot be reached, is incomplete, or they do not fit each other.
    """
    from transformers import AutoModel, AutoTokenizer

    adapter, clip_commit = load_adapter(settings)
    name = expanded(settings.language_model)
    expected = "a Hugging Face id or a folder with config.json, weights and tokenizer of LLM2CLIP's language model"
    with hub.explained(f"{SECTION}.language_model", name, expected):
        commit, pinned = hub.pin(name, settings.language_model_revision)
        options = pinned | {"trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
        model, missing = hub.pretrained(AutoModel, name, **options)
        hub.refuse_random(missing)
        attend_both_ways(model)
        width = adapter[-1].in_features
        if model.config.hidden_size != width:
            raise ValueError(f"it is {model.config.hidden_size} wide, the adapter of {settings.clip} reads {width}")
        dtype = hub.choose_dtype(settings.dtype, hub.parameters(model) * texts, device)
        found = Texts(
            model.to(device=device, dtype=dtype).eval(),
            tokenizer,
            template_of(tokenizer),
            adapter.to(device),
            min(settings.max_tokens, hub.positions(model) or settings.max_tokens),
            name,
            commit,
            settings.clip,
            clip_commit,
            hub.state_of(Path(name)) + hub.state_of(Path(expanded(settings.clip))),
        )
        try_texts(found)
    return found


def load_adapter(settings: Llm2Clip) -> tuple[nn.Sequential, str | None]:
    """The adapter in the CLIP's checkpoint, and the commit that it is of.

    Raises:
        WeightsError: the checkpoint is not here, cannot be reached, or holds no adapter of this form.
    """
    name = expanded(settings.clip)
    with hub.explained(f"{SECTION}.clip", name, _clip_expected()):
        commit, pinned = hub.pin(name, settings.clip_revision)
        weights = hub.tensors(name, "text_adapter.", **pinned)
        container = {name.partition(".")[0] for name in weights}
        return build_adapter({name.partition(".")[2]: value for name, value in weights.items()}, container), commit


def build_adapter(weights: Mapping[str, Tensor], container: set[str]) -> nn.Sequential:
    """Blocks, a norm and a projection, with the sizes that the weights have.

    Args:
        weights: by name, such as 0.fn.0.weight, 0.ln.bias, ..., 4.weight, 5.weight.
        container: what their names began with.

    Raises:
        ValueError: they are no such adapter.
    """
    blocks = sum(bool(BLOCK.match(name)) for name in weights)
    last = weights.get(f"{blocks + 1}.weight")
    if len(container) != 1 or not blocks or last is None:
        raise ValueError(f"its text_adapter.* have another form ({', '.join(sorted(weights)[:3])}, ...)")
    out, width = last.shape
    hidden = weights["0.fn.0.weight"].shape[0]
    layers = [Block(width, hidden) for _ in range(blocks)]
    with_bias = f"{blocks + 1}.bias" in weights
    adapter = nn.Sequential(*layers, nn.LayerNorm(width), nn.Linear(width, out, bias=with_bias))
    adapter.load_state_dict({name: value.float() for name, value in weights.items()})
    return adapter.eval()


def load_pictures(settings: Llm2Clip, pictures: int, device: str) -> Vision:
    """The vision tower with its projection, ready to encode.

    Args:
        settings: `clip` is a hub id or a local folder. Where it has no preprocessor_config.json, pictures are prepared
            as CLIP's are, at the size of the tower.
        pictures: how many there are to encode, by which `dtype: auto` decides.
        device: cpu, cuda, ...

    Raises:
        WeightsError: the model is not here, cannot be reached or is incomplete.
    """
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPVisionModelWithProjection

    name = expanded(settings.clip)
    with hub.explained(f"{SECTION}.clip", name, _clip_expected()):
        commit, options = hub.pin(name, settings.clip_revision)
        config = CLIPConfig.from_pretrained(name, **options)
        vision = config.vision_config
        vision.projection_dim = config.projection_dim
        model, missing = hub.pretrained(CLIPVisionModelWithProjection, name, config=vision, **options)
        hub.refuse_random(missing)
        if hub.optional_file(name, "preprocessor_config.json", **options):
            process = CLIPImageProcessor.from_pretrained(name, **options)
        else:
            side = vision.image_size
            process = CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
        found = Vision(model.eval(), process, "projection", SECTION, name, commit, hub.state_of(Path(name)))
        return vision_model.ready(found, settings.dtype, pictures, device)


@torch.inference_mode()
def read(texts_model: Texts, texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit-length vectors of a few texts, (B, D).

    The mean is over the text and what ends it, without what stands before it, as LLM2Vec pools with an instruction.
    """
    rows = texts_model.tokens(texts)
    device = texts_model.model.device
    lengths = torch.tensor([len(row) for row in rows])
    places = torch.arange(int(lengths.max()))  # (S,)
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)  # (B, S)
    mask = (places < lengths[:, None]).long().to(device)
    counted = mask * (places >= len(texts_model.template.before)).to(device)
    output = texts_model.model(input_ids=ids.to(device), attention_mask=mask, use_cache=False)
    weights = counted.unsqueeze(-1).float()
    pooled = (output.last_hidden_state.float() * weights).sum(1) / weights.sum(1).clamp(min=1.0)  # (B, C)
    adapted = texts_model.adapter(functional.normalize(pooled, dim=-1))  # (B, D)
    unit = functional.normalize(adapted, dim=-1)
    return np.asarray(unit.cpu().numpy(), dtype=np.float32)


def attend_both_ways(model: Any) -> None:
    """Let every token see the whole text.

    Raises:
        ValueError: the model holds no list of layers with attention.
    """
    model.config.is_causal = False  # by which transformers chooses the mask
    layers = [module for module in model.modules() if hasattr(module, "is_causal")]
    if not layers:
        raise ValueError(f"a {model.config.model_type} has no attention that can be told to look both ways")
    for layer in layers:
        layer.is_causal = False  # by which a kernel without a mask does


def template_of(tokenizer: Any) -> Template:
    """The chat template's user turn, where the tokenizer has its tokens."""
    begin = tokenizer("")["input_ids"]
    known = tokenizer.get_vocab()
    if not all(token in known for token in ("<|start_header_id|>", "<|end_header_id|>", AFTER)):
        return Template(begin, [])
    return Template(tokenizer(BEFORE)["input_ids"], tokenizer(AFTER, add_special_tokens=False)["input_ids"])


def _clip_expected() -> str:
    return (
        "a Hugging Face id or a folder with config.json and safetensors of an LLM2CLIP: vision tower and text adapter"
    )
