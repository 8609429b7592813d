"""Backbones: our own small Llama, a local folder with a Llama-3-style template, and what must fail."""

import shutil

import huggingface_hub
import pytest
import torch

from mmesid.config import load
from mmesid.errors import WeightsError
from mmesid.recommender import backbone, loading, pretrained
from mmesid.recommender.adapter import adapter_tensors, merge
from mmesid.recommender.building import build
from mmesid.recommender.prompt import build_prompt
from mmesid.recommender.training import Trainer

LLAMA_3_TEMPLATE = (
    "{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim "
    "+ '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
TEXTS = ["red oak chair", "blue glass vase", "tall copper lamp", "стул из дуба", "木の椅子"] * 30


@pytest.fixture(scope="module")
def small():
    settings = load("sample").init_codes.embedded
    settings = settings.model_copy(
        update={
            "width": 32,
            "layers": 1,
            "heads": 2,
            "vocabulary": 320,
            "pretrain_steps": 60,
            "pretrain_learning_rate": 0.01,
        }
    )
    losses: list[float] = []
    built = backbone.embedded(
        TEXTS,
        ["predict the next item"],
        settings,
        0,
        "cpu",
        lambda metrics, step: losses.append(metrics["language_model_loss"]),
    )
    return built, losses


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    """A backbone as a user would have it on disk."""
    path = tmp_path_factory.mktemp("backbone")
    small[0].model.save_pretrained(path)
    small[0].tokenizer.chat_template = LLAMA_3_TEMPLATE
    small[0].tokenizer.save_pretrained(path)
    return path


def test_pretraining_learns_the_catalogue(small):
    assert small[1][-1] < 0.8 * small[1][0]


def test_one_that_was_never_taught_is_called_random(small):
    settings = load("sample").init_codes.embedded.model_copy(
        update={"width": 32, "layers": 1, "heads": 2, "vocabulary": 320, "pretrain_steps": 0}
    )
    untaught = backbone.embedded(TEXTS, [], settings, 0, "cpu", lambda metrics, step: pytest.fail("it was taught"))
    assert (small[0].weights, untaught.weights) == ("pretrained", "random")


def test_the_tokenizer_round_trips_every_script(small):
    tokenizer = small[0].tokenizer
    for text in TEXTS[:5]:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_embedded_template_answers_with_one_token():
    settings_texts = ["one two three"] * 5
    tokenizer = backbone._train_tokenizer(settings_texts, 300)
    prompt = build_prompt(tokenizer, "be helpful", "predict", "header")
    assert tokenizer.convert_ids_to_tokens(prompt.after)[-1] == "<|assistant|>"
    assert len(prompt.after) == 1
    assert tokenizer.decode(prompt.before) == "<|system|>be helpful<|user|>predict\n"


def test_a_local_folder_loads_with_its_template(folder, init_settings):
    loaded = pretrained.load(init_settings.model_copy(update={"backbone": str(folder)}), "cpu", 0)
    prompt = build_prompt(loaded.tokenizer, "be helpful", "predict", "header")
    text = loaded.tokenizer.decode(prompt.before)
    assert text.startswith("<|start_header_id|>system<|end_header_id|>\n\nbe helpful<|eot_id|>")
    assert loaded.tokenizer.decode(prompt.after).endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")


def test_a_folder_of_the_home_is_found_by_its_tilde(folder, init_settings, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    named = init_settings.model_copy(update={"backbone": f"~/{folder.name}"})
    assert pretrained.load(named, "cpu", 0).name == str(folder)


def test_a_hub_backbone_is_pinned_to_the_commit_that_was_found(folder, init_settings, tmp_path, monkeypatch):
    """As the hub's cache lies on the disk after a download."""
    newest, older = "a" * 40, "b" * 40
    for commit in (newest, older):
        shutil.copytree(folder, tmp_path / "models--shop--llama" / "snapshots" / commit)
    (tmp_path / "models--shop--llama" / "refs").mkdir()
    (tmp_path / "models--shop--llama" / "refs" / "main").write_text(newest)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for asked, found in ((None, newest), (older, older)):
        settings = init_settings.model_copy(update={"backbone": "shop/llama", "revision": asked})
        loaded = pretrained.load(settings, "cpu", 0)
        assert loaded.revision == found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_recommender_on_a_local_folder_reloads_identically(
    dtype, folder, init_settings, embeddings, semantic_ids, sequences, tmp_path
):
    settings = init_settings.model_copy(update={"backbone": str(folder), "dtype": dtype})
    loaded = pretrained.load(settings, "cpu", 0)
    model = build(loaded, embeddings, semantic_ids, sequences.train_frequency(), settings, 8, 0)
    loading.save_initial(tmp_path, model, loaded, own=False)
    again = loading.load_initial(tmp_path, "cpu")
    items = torch.arange(41)
    assert torch.equal(again.items.inputs(items), model.items.inputs(items))
    assert next(again.backbone.parameters()).dtype == getattr(torch, dtype)
    assert not (tmp_path / "backbone").exists()


def test_four_bits_without_their_library_say_what_to_install(folder, init_settings, monkeypatch):
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"nf4 needs bitsandbytes"):
        pretrained.load(init_settings.model_copy(update={"backbone": str(folder), "dtype": "nf4"}), "cpu", 0)


@pytest.mark.pipeline
def test_an_adapter_learns_beside_weights_in_four_bits(
    folder, init_settings, finetune_settings, embeddings, semantic_ids, sequences
):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    settings = init_settings.model_copy(update={"backbone": str(folder), "dtype": "nf4"})
    loaded = pretrained.load(settings, "cpu", 0)
    assert isinstance(loaded.model.layers[0].mlp.up_proj, bitsandbytes.nn.Linear4bit)
    model = build(loaded, embeddings, semantic_ids, sequences.train_frequency(), settings, 8, 0)
    chosen = finetune_settings.model_copy(update={"precision": "bfloat16"})
    trainer = Trainer(model, sequences, chosen, 0, lambda metrics, step: None)
    before = {name: weight.clone() for name, weight in adapter_tensors(model.backbone).items()}
    first, *_, last = (float(trainer.step(trainer.windows)) for _ in range(6))
    assert last < first
    assert all(not torch.equal(weight, before[name]) for name, weight in adapter_tensors(model.backbone).items())
    assert merge(model.backbone) is model.backbone  # four bits would not hold the sum


def test_a_backbone_that_does_not_exist_says_so(init_settings):
    with pytest.raises(WeightsError, match=r"init_codes\.backbone.*no/such-model"):
        pretrained.load(init_settings.model_copy(update={"backbone": "no/such-model"}), "cpu", 0)


def test_incomplete_weights_never_pass_for_pretrained_ones(folder, init_settings, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path / "broken")
    weights = load_file(tmp_path / "broken" / "model.safetensors")
    weights.pop("layers.0.mlp.up_proj.weight")
    save_file(weights, tmp_path / "broken" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="lacks 1 weights"):
        pretrained.load(init_settings.model_copy(update={"backbone": str(tmp_path / "broken")}), "cpu", 0)


def test_random_weights_are_the_same_model_drawn_by_the_seed_and_kept(
    folder, init_settings, embeddings, semantic_ids, sequences, tmp_path
):
    settings = init_settings.model_copy(update={"backbone": str(folder), "weights": "random", "layers": 1})
    known = pretrained.load(settings.model_copy(update={"weights": "pretrained"}), "cpu", 0)
    first, again, other = (pretrained.load(settings, "cpu", seed) for seed in (0, 0, 1))
    shapes = [{name: (w.shape, w.dtype) for name, w in b.model.state_dict().items()} for b in (known, first)]
    assert shapes[0] == shapes[1]
    words = [b.model.get_input_embeddings().weight for b in (first, again, other, known)]
    assert torch.equal(words[0], words[1])
    assert not torch.equal(words[0], words[2])
    assert not torch.equal(words[0], words[3])
    model = build(first, embeddings, semantic_ids, sequences.train_frequency(), settings, 8, 0)
    loading.save_initial(tmp_path, model, first, own=pretrained.is_kept(settings))
    kept = loading.load_initial(tmp_path, "cpu")
    assert torch.equal(kept.backbone.get_input_embeddings().weight, words[0])
    assert loading.pinned(tmp_path).weights == "random"


def test_without_messages_the_items_stand_behind_the_token_that_begins_a_text(folder, init_settings):
    tokenizer = pretrained.load(init_settings.model_copy(update={"backbone": str(folder)}), "cpu", 0).tokenizer
    assert build_prompt(tokenizer, "", "", "none") == ([tokenizer.bos_token_id], [])
