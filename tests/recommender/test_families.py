"""Families of language models, small and of their true architecture: each is packed exactly, or refused."""

import copy

import numpy as np
import pytest
import torch
import transformers

from mmesid.artifacts.windows import history_windows
from mmesid.errors import ConfigError, WeightsError
from mmesid.recommender import pretrained
from mmesid.recommender.adapter import adapter_tensors, adding, check_targets, load_adapter, lora_settings
from mmesid.recommender.backbone import Backbone, _train_tokenizer
from mmesid.recommender.building import build
from mmesid.recommender.compatibility import check_packing, check_window
from mmesid.recommender.diagnostics import ABOVE_CHANCE, complaints
from mmesid.recommender.inference import Scorer
from mmesid.recommender.packing import pack_rows
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
    "GPT-2": ("GPT2Config", {"n_positions": 256}),
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


def test_the_prompt_is_the_same_in_training_and_scoring(embeddings, semantic_ids, sequences, monkeypatch):
    """Gemma 3n knows a second vector of each token id, which its items have not, and neither has the prompt."""
    more = {"head_dim": 16, "sliding_window": 64, "vocab_size_per_layer_input": 100, "hidden_size_per_layer_input": 8}
    thin = {
        "laurel_rank": 8,
        "altup_num_inputs": 2,
        "num_kv_shared_layers": 0,
        "activation_sparsity_pattern": [0.0, 0.0],
    }
    monkeypatch.setitem(FAMILIES, "Gemma-3n", ("Gemma3nTextConfig", {**more, **thin}))
    backbone, settings = tiny("Gemma-3n"), world.init_settings("tied")
    with torch.no_grad():
        for weight in backbone.model.parameters():  # some start at zero
            weight.normal_(std=0.2)
    check_packing(backbone, PROMPT)
    model = build(backbone, embeddings, semantic_ids, sequences.train_frequency(), settings, world.HISTORY, seed=0)
    histories = [np.arange(1, length) for length in (4, 9, 6)]
    scored = Scorer(model).represent(histories)
    with torch.inference_mode():
        trained = model.represent(pack_rows([history_windows(histories, world.HISTORY)], model.blueprint.prompt))
        assert torch.allclose(scored, model.items.users(trained), rtol=1e-4, atol=1e-4)


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


@pytest.mark.parametrize("overlooked", ["attention_mask", "position_ids"])
def test_one_layer_that_overlooks_mask_or_positions_is_seen_in_bfloat16_too(overlooked):
    backbone = tiny("Llama-3", num_hidden_layers=3, initializer_range=0.1)
    model = backbone.model.bfloat16()
    backbone = backbone._replace(model=model, dtype="bfloat16")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    check_packing(backbone, PROMPT)
    assert len(model.layers) == 3
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    attention = model.layers[1].self_attn if overlooked == "attention_mask" else model.rotary_emb
    forward = attention.forward
    drop = {"attention_mask": None} if overlooked == "attention_mask" else {}
    attention.forward = lambda *given, **named: (
        forward(*given, **{**named, **drop})
        if drop
        else forward(given[0], torch.arange(given[0].shape[1]).expand(given[0].shape[:2]))
    )
    with pytest.raises(WeightsError, match="each differs by"):
        check_packing(backbone, PROMPT)


@pytest.mark.parametrize("config", ["BloomConfig", "MambaConfig"])
def test_a_family_that_takes_no_such_mask_is_refused_in_one_sentence(config):
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(getattr(transformers, config)(vocab_size=100, hidden_size=32)).eval()
    with pytest.raises(WeightsError, match=r"foreign fails on items that are packed in one row \("):
        check_packing(Backbone(model, WordTokenizer(), 0.1, "foreign", None), PROMPT)


def test_an_encoder_and_a_tokenizer_of_another_model_are_named():
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=100, hidden_size=32, num_attention_heads=4, initializer_range=0.5)
    model = transformers.AutoModel.from_config(config).eval()
    with pytest.raises(WeightsError, match="it reads what follows, as encoders do"):
        check_packing(Backbone(model, WordTokenizer(), 0.1, "foreign", None), PROMPT)
    with pytest.raises(WeightsError, match=r"tokenizer of Llama-3 has a token 100, its weights know 100"):
        check_packing(tiny("Llama-3"), Prompt([5, 100], []))


@pytest.mark.parametrize("family", ["Gemma-3", "Mistral"])
def test_a_history_longer_than_a_sliding_window_is_refused(family):
    backbone, header = tiny(family), Prompt([5, 6, 7], [8, 9])  # its window is 64
    check_window(backbone, header, 59)
    with pytest.raises(
        WeightsError, match=r"history_length is 60, .* 65 tokens, .* sliding window of 64: lower it by 1"
    ):
        check_window(backbone, header, 60)
    check_window(tiny("Gemma-3", layer_types=["full_attention"] * 2), header, 60)
    check_window(tiny("Llama-3"), header, 60)


@pytest.mark.parametrize("layers", [None, 1])
def test_a_model_that_sees_pictures_too_lends_its_text_decoder(layers, init_settings, tmp_path):
    text = {**SIZES, "vocab_size": 400, "head_dim": 16, "sliding_window": 64}
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    images = {"mm_tokens_per_image": 4, "image_token_index": 99, "boi_token_index": 98, "eoi_token_index": 97}
    config = transformers.Gemma3Config(
        text_config=text, vision_config={**vision, "image_size": 28, "patch_size": 14}, **images
    )
    whole = transformers.Gemma3ForConditionalGeneration(config)
    whole.save_pretrained(tmp_path)
    _train_tokenizer(["one two three"] * 5, 300).save_pretrained(tmp_path)
    settings = init_settings.model_copy(update={"backbone": str(tmp_path), "layers": layers, "dtype": "float32"})
    loaded = pretrained.load(settings, "cpu", 0)
    assert len(loaded.model.layers) == loaded.model.config.num_hidden_layers == (layers or 2)
    kept = whole.model.language_model.layers[0].mlp.up_proj.weight
    assert torch.equal(loaded.model.layers[0].mlp.up_proj.weight, kept)
    assert not any("vision" in name for name, _ in loaded.model.named_parameters())
    check_packing(loaded, PROMPT)


FOREIGN = {"Phi": ("dense", "fc2"), "Phi-3": ("o_proj", "down_proj"), "GPT-2": ("c_proj", "c_proj")}


@pytest.mark.parametrize("family", list(FOREIGN))
def test_an_adapter_and_dropout_fit_a_family_of_other_names(
    family, embeddings, semantic_ids, sequences, finetune_settings
):
    backbone = tiny(family)
    with pytest.raises(ConfigError, match=r"finetune\.target_modules .* or null for all"):
        check_targets(backbone.model, finetune_settings)
    check_targets(backbone.model, finetune_settings.model_copy(update={"adapter": "frozen"}))
    every = finetune_settings.model_copy(update={"target_modules": None})
    check_targets(backbone.model, every)
    assert len(adding(backbone.model)) == 2 * SIZES["num_hidden_layers"]
    plain = copy.deepcopy(backbone.model)
    frequency, settings = sequences.train_frequency(), world.init_settings("tied")
    model = build(backbone, embeddings, semantic_ids, frequency, settings, world.HISTORY, seed=0)
    trainer = Trainer(model, sequences, every, world.protocol(), 0, lambda metrics, step: None)
    trainer.step(trainer.windows)
    tensors = adapter_tensors(model.backbone)
    assert all(any(f".{name}.lora_A" in tensor for tensor in tensors) for name in FOREIGN[family])
    again = load_adapter(plain, tensors, lora_settings(every))
    assert all(torch.equal(weight, tensors[name]) for name, weight in adapter_tensors(again).items())


def test_a_family_without_fused_attention_is_trained_by_plain_products(
    embeddings, semantic_ids, sequences, finetune_settings
):
    frequency, settings = sequences.train_frequency(), world.init_settings("tied")

    def trainer(attention):
        backbone = tiny("Llama-3")
        backbone.model._supports_sdpa = False
        model = build(backbone, embeddings, semantic_ids, frequency, settings, world.HISTORY, seed=0)
        how = finetune_settings.model_copy(update={"adapter": "full", "attention": attention})
        return Trainer(model, sequences, how, world.protocol(), 0, lambda metrics, step: None)

    found = trainer("auto")
    found.step(found.windows)
    assert found.model.attention == "eager"
    with pytest.raises(ConfigError, match=r"finetune\.attention is sdpa, which Llama-3 .* does not know"):
        trainer("sdpa")


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

    def get_chat_template(self):
        return self.chat_template

    def apply_chat_template(self, messages, **how):
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
