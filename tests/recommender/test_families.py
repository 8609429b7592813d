"""Families of language models, small and of their true architecture: each is packed exactly, or refused."""

import pytest
import torch
import transformers

from mmesid.errors import WeightsError
from mmesid.recommender.backbone import Backbone
from mmesid.recommender.building import build
from mmesid.recommender.compatibility import check_packing
from mmesid.recommender.diagnostics import ABOVE_CHANCE, complaints
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


def tiny(family: str, **other: object) -> Backbone:
    name, more = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, name)(**{**SIZES, **more, **other})
    model = transformers.AutoModel.from_config(config).eval()
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


@pytest.fixture
def start_of(embeddings, semantic_ids, sequences, finetune_settings):
    """A function from a backbone to what there is to see before its first step."""
    schedule = finetune_settings.model_copy(update={"adapter": "full", "epochs": 40, "warmup_steps": 50})
    frequency, settings = sequences.train_frequency(), world.init_settings("tied")

    def start(backbone):
        model = build(backbone, embeddings, semantic_ids, frequency, settings, world.HISTORY, seed=0)
        return Trainer(model, sequences, schedule, world.protocol(), 0, lambda metrics, step: None).begin()

    return start


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_family_as_wide_as_pretrained_ones_starts_at_chance(family, start_of):
    """Scores at full size; its layers add more to an item than the item is large, as those that have learned do."""
    start = start_of(tiny(family, hidden_size=512, initializer_range=0.1))
    assert start["full_size_loss"] < start["chance"] + ABOVE_CHANCE
    assert complaints({**start, "word_rms": start["input_rms"]}) == []


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_family_that_hands_the_last_item_through_is_named(family, start_of):
    """The loss of step one does not show it: scores are a fiftieth of their size then."""
    start = start_of(tiny(family, hidden_size=512, initializer_range=1e-4))
    assert start["first_loss"] == pytest.approx(start["chance"], abs=ABOVE_CHANCE)
    (said,) = complaints({**start, "word_rms": start["input_rms"]})
    assert "scores at full size" in said


def test_a_narrow_family_starts_as_far_above_chance_as_its_width_says(start_of):
    """Users that point anywhere: 1 / (2 C tau^2) nats, twice of it at most here."""
    start = start_of(tiny("Llama-3", initializer_range=0.5))
    bound = 1 / (2 * SIZES["hidden_size"] * world.init_settings("tied").temperature ** 2)
    assert ABOVE_CHANCE < start["full_size_loss"] - start["chance"] < 2 * bound


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
