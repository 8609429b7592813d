"""Families of language models, small and of their true architecture: each is packed exactly, or refused."""

import pytest
import torch
import transformers

from mmesid.errors import WeightsError
from mmesid.recommender.backbone import Backbone
from mmesid.recommender.building import build
from mmesid.recommender.compatibility import check_packing
from mmesid.recommender.diagnostics import ABOVE_CHANCE
from mmesid.recommender.prompt import Prompt, build_prompt
from mmesid.recommender.training import Trainer
from tests.tiny_world import WordTokenizer

from . import tiny_recommender as world

SIZES = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
FAMILIES = {
    "Llama-3": ("LlamaConfig", {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}),
    "Qwen3": ("Qwen3Config", {"head_dim": 16}),
    "Gemma-3": ("Gemma3TextConfig", {"head_dim": 16, "sliding_window": 64}),
    "Mistral": ("MistralConfig", {"sliding_window": 64}),
    "Phi": ("PhiConfig", {}),
    "Phi-3": ("Phi3Config", {}),
}
PROMPT = Prompt([5, 6, 7], [])


def tiny(family: str) -> Backbone:
    name, more = FAMILIES[family]
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(getattr(transformers, name)(**SIZES, **more)).eval()
    return Backbone(model, WordTokenizer(), 0.1, family, None)


@pytest.mark.parametrize("prompt", [PROMPT, Prompt([5, 6, 7], [8, 9])], ids=["at the item", "header"])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_family_keeps_packed_users_apart(family, prompt):
    check_packing(tiny(family), prompt)


@pytest.mark.parametrize("overlooked", ["attention_mask", "position_ids"])
def test_a_family_that_overlooks_mask_or_positions_is_refused(overlooked):
    backbone = tiny("Llama-3")
    with torch.no_grad():
        for layer in backbone.model.layers:  # attention that matters, and depends on where a token stands
            layer.self_attn.q_proj.weight.mul_(50)
            layer.self_attn.o_proj.weight.mul_(50)
    forward = backbone.model.forward
    backbone.model.forward = lambda **given: forward(**{**given, overlooked: None})
    with pytest.raises(WeightsError, match=r"Llama-3 does not keep users apart"):
        check_packing(backbone, PROMPT)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_family_starts_at_chance(family, embeddings, semantic_ids, sequences, finetune_settings):
    settings = world.init_settings("tied")
    model = build(tiny(family), embeddings, semantic_ids, sequences.train_frequency(), settings, world.HISTORY, seed=0)
    schedule = finetune_settings.model_copy(update={"adapter": "full", "epochs": 40, "warmup_steps": 50})
    start = Trainer(model, sequences, schedule, world.protocol(), 0, lambda metrics, step: None).begin()
    assert start["first_loss"] == pytest.approx(start["chance"], abs=ABOVE_CHANCE)


class Templated(WordTokenizer):
    """A tokenizer whose chat template is given."""

    chat_template = "given"
    system: str

    def __init__(self, system: str) -> None:
        super().__init__()
        self.system = system

    def apply_chat_template(self, messages, tokenize, add_generation_prompt):
        import jinja2

        text = ""
        for message in messages:
            if message["role"] == "system":
                if self.system == "refused":
                    raise jinja2.TemplateError("System role not supported")
                if self.system == "dropped":
                    continue
            text += f"{message['role']} {message['content']} "
        return text


@pytest.mark.parametrize(("system", "expected"), [("refused", 1), ("dropped", 1), ("known", 2)])
def test_the_system_message_is_said_with_and_without_a_role_of_its_own(system, expected, monkeypatch):
    texts: list[str] = []
    tokenizer = Templated(system)
    monkeypatch.setattr("mmesid.recommender.prompt._encode", lambda _, text: texts.append(text) or [1])
    build_prompt(tokenizer, "be helpful", "predict", "none")
    assert texts[0].count("be helpful") == 1
    assert sum(texts[0].count(role) for role in ("system ", "user ")) == expected
