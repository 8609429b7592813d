"""A backbone's folder: what is wrong with it is one sentence, and another model in it is noticed."""

import json
import pickle
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from mmesid.artifacts import hub_bars
from mmesid.errors import WeightsError
from mmesid.recommender import loading, pretrained, source
from mmesid.recommender.backbone import _train_tokenizer
from mmesid.recommender.building import build
from mmesid.recommender.prompt import build_prompt
from tests.hub_server import hub_of

SIZES = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """With a head of its own, as most families have it."""
    path = tmp_path_factory.mktemp("whole")
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, tie_word_embeddings=False)).save_pretrained(path)
    _train_tokenizer(["one two three"] * 5, 300).save_pretrained(path)
    return path


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "backbone")


def configure(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def bin_of(folder, content):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)


def code_of(folder):
    configure(folder, auto_map={"AutoConfig": "x.C", "AutoModel": "x.M"}, model_type="foo")
    (folder / "x.py").write_text("import not_there_at_all\n")


def sentencepiece_of(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"\x0a\x0b\x0a\x05<unk>")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')


def no_words_of(folder):
    """What transformers makes of such a folder: a tokenizer that knows its special tokens alone."""
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GemmaTokenizer"}')


def adapter_of(folder):
    from peft import LoraConfig, get_peft_model

    whole = transformers.AutoModelForCausalLM.from_pretrained(folder)
    get_peft_model(whole, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(folder)


FAULTS = {
    "weights are empty": (lambda folder: bin_of(folder, b""), "cut short or damaged"),
    "weights are a pointer": (
        lambda folder: bin_of(folder, b"version https://git-lfs.github.com/spec/v1\n"),
        "damaged",
    ),
    "weights are a foreign pickle": (lambda folder: bin_of(folder, pickle.dumps({"a": print}, 2)), "damaged"),
    "a width is a word": (lambda folder: configure(folder, hidden_size="wide"), "expected int, got str"),
    "another width": (lambda folder: configure(folder, hidden_size=64), "of other sizes than its config.json says"),
    "no heads": (lambda folder: configure(folder, num_attention_heads=0), "integer modulo by zero"),
    "a list for a configuration": (lambda folder: (folder / "config.json").write_text("[1]"), "must be a mapping"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "put tokenizer.json beside the weights"),
    "a tokenizer of SentencePiece alone": (sentencepiece_of, "tokenizer.model alone is not enough"),
    "a tokenizer that knows no words": (no_words_of, "holds no tokenizer"),
    "code that lacks a package": (code_of, "not_there_at_all"),
    "an adapter": (adapter_of, "is an adapter of another model"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_what_is_wrong_with_a_folder_is_one_sentence(fault, folder, init_settings):
    spoil, reason = FAULTS[fault]
    spoil(folder)
    settings = init_settings.model_copy(update={"backbone": str(folder), "trust_remote_code": True})
    with pytest.raises(WeightsError) as caught:
        pretrained.load(settings, "cpu", 0)
    assert str(caught.value).startswith("init_codes.backbone: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_full_memory_is_not_blamed_on_the_files():
    with pytest.raises(torch.OutOfMemoryError), source.loading("a model"):
        raise torch.OutOfMemoryError


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in", "unexpected 'end of template'"),
        ("{{ unknown(1) }}", "'unknown' is undefined"),
        ("{{ messages[0]['content'] + 1 }}", "can only concatenate"),
        ("nothing of it", "does not say the user's message exactly once"),
        ("{% for m in messages %}{{ m['content'] }}{{ m['content'] }}{% endfor %}", "exactly once"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_one_sentence(template, reason, whole):
    tokenizer = transformers.AutoTokenizer.from_pretrained(whole)
    tokenizer.chat_template = template
    with pytest.raises(WeightsError, match=r"init_codes\.backbone: the chat template") as caught:
        build_prompt(tokenizer, "be helpful", "predict", "none")
    assert reason in str(caught.value)


def test_a_chat_template_may_want_contents_by_type(whole):
    """As those of models do that see pictures too."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(whole)
    tokenizer.chat_template = (
        "{% for m in messages %}{% for c in m['content'] %}{{ c['text'] }}{% endfor %}{% endfor %}"
    )
    assert tokenizer.decode(build_prompt(tokenizer, "one", "two", "none").before) == "onetwo\n"


@pytest.mark.parametrize("told", ["{{ strftime_now('%d %b %Y %H:%M:%S') }}", "{{ date_string }}"])
def test_a_chat_template_that_says_the_day_says_the_same_on_each(told, whole):
    tokenizer = transformers.AutoTokenizer.from_pretrained(whole)
    tokenizer.chat_template = told + "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    assert tokenizer.decode(build_prompt(tokenizer, "one", "two", "none").before).startswith("26 Jul 2024")


def test_nothing_is_said_of_a_head_that_is_not_used_but_of_layers_that_are_not(folder, init_settings, capfd):
    said: list[str] = []
    settings = init_settings.model_copy(update={"backbone": str(folder)})
    pretrained.load(settings, "cpu", 0, said.append)
    assert said == []
    configure(folder, num_hidden_layers=1)
    pretrained.load(settings, "cpu", 0, said.append)
    (message,) = said
    assert "has 9 weights that its config.json has no layer for (first: model.layers.1." in message
    assert "REPORT" not in "".join(capfd.readouterr())


def test_another_model_in_the_folder_is_noticed(folder, init_settings, embeddings, semantic_ids, sequences, tmp_path):
    settings = init_settings.model_copy(update={"backbone": str(folder), "dtype": "float32"})
    loaded = pretrained.load(settings, "cpu", 0)
    model = build(loaded, embeddings, semantic_ids, sequences.train_frequency(), settings, 8, 0)
    loading.save_initial(tmp_path / "initial", model, loaded, own=False)
    shutil.move(folder, tmp_path / "aside")
    shutil.copytree(tmp_path / "aside", folder)  # the same files, of another age
    (folder / "README.md").write_text("about it")
    loading.load_initial(tmp_path / "initial", "cpu")

    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][3] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"have changed since init_codes.*dvc repro --force init_codes"):
        loading.load_initial(tmp_path / "initial", "cpu")

    pointer = tmp_path / "initial" / "backbone.json"
    old = {name: value for name, value in json.loads(pointer.read_text()).items() if name != "state"}
    pointer.write_text(json.dumps(old))
    loading.load_initial(tmp_path / "initial", "cpu")  # of an earlier release: it does not know


def test_a_pointer_without_a_state_is_written_as_ever(
    folder, init_settings, embeddings, semantic_ids, sequences, tmp_path
):
    settings = init_settings.model_copy(update={"backbone": str(folder), "weights": "random"})
    loaded = pretrained.load(settings, "cpu", 0)
    model = build(loaded, embeddings, semantic_ids, sequences.train_frequency(), settings, 8, 0)
    loading.save_initial(tmp_path / "initial", model, loaded, own=True)
    assert "state" not in json.loads((tmp_path / "initial" / "backbone.json").read_text())


def test_a_download_says_how_far_it_is(whole, init_settings, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(hub_bars, "LINE_SECONDS", 0.0)
    with hub_of(whole, tmp_path):
        settings = init_settings.model_copy(update={"backbone": "shop/speaker"})
        assert pretrained.load(settings, "cpu", 0).revision == "c" * 40
    assert "model.safetensors: 0.2 of 0.2 MB" in capsys.readouterr().err
