"""Presets: every one is possible with every source, wins over what add chooses, and is written down as a whole."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from mmesid import config
from mmesid.artifacts import packaged
from mmesid.commands import add_address, presets, project
from mmesid.commands.add_address import Address
from mmesid.config.loading import read_sections
from mmesid.data import SOURCES
from mmesid.errors import ConfigError
from mmesid.pipeline import ablations
from tests.adding import run

ROOT = Path(__file__).parents[2]
PRESETS = presets.names(ROOT)
INGEST = {
    "sample": {"source": "sample"},
    "files": {"source": "files"},
    "amazon": {"source": "amazon", "base_url": "http://127.0.0.1:9", "category": "Beauty"},
}


def values(preset: str) -> dict[str, object]:
    return dict(config.flatten(presets.read(preset, ROOT).sections))


def conf(checkout: Path, name: str = "toys") -> dict[str, object]:
    return dict(config.flatten(config.load(name, checkout).model_dump(by_alias=True)))


def test_the_presets_are_those_that_are_promised() -> None:
    assert PRESETS == ["authors", "cpu", "paper", "small"]
    assert set(INGEST) == set(SOURCES)


def test_the_document_names_every_preset_and_every_variable_of_make() -> None:
    text = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    variables = set(re.findall(r"\$\((\w+)\)", makefile[makefile.index("\npaper:") : makefile.index("\ntest:")]))
    assert named == {*PRESETS, *variables}


@pytest.mark.parametrize("source", INGEST)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_possible_with_every_source(preset: str, source: str) -> None:
    text = "\n".join(presets.render({"ingest": INGEST[source]}, presets.read(preset, ROOT)))
    settings = project.settings(yaml.safe_load(text), "shop", preset, ROOT)
    assert settings.ingest.source == source
    assert presets.differing(presets.read(preset, ROOT), settings) == []


PAPER = {  # what params.yaml marks as the paper's, where it is a value
    "protocol.history_length": 50,
    "prepare.drop_items_without": ["image", "text"],
    "encode_content.text": "llm2clip",
    "tokenize.dimension": 4096,
    "tokenize.hidden": [4096, 4096, 4096],
    "tokenize.reconstruction": "mmd",
    "tokenize.alignment": "infonce",
    "tokenize.batch_size": 1024,
    "init_codes.backbone": "meta-llama/Meta-Llama-3-8B-Instruct",
    "init_codes.dtype": "nf4",
    "init_codes.response": "header",
    "init_codes.items": "table",
    "init_codes.item_table": "random",
    "init_codes.input_hidden": 3 * 4096,
    "init_codes.score_modalities": ["collaborative", "text", "image"],
    "init_codes.fusion_temperature": 0.001,
    "finetune.rank": 8,
    "finetune.alpha": 16,
    "finetune.adapter_dropout": 0.05,
    "finetune.target_modules": ["gate_proj", "up_proj", "down_proj"],
    "finetune.targets_per_step": 16,
    "finetune.learning_rate": 0.0003,
    "finetune.warmup_steps": 100,
}


def test_the_preset_paper_holds_every_value_that_is_known_of_the_paper() -> None:
    found = values("paper")
    assert {key: found.get(key) for key in PAPER} == PAPER
    marked = [
        line.partition(":")[0].strip()
        for line in (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()
        if "[paper" in line and not line.startswith("#")
    ]
    named = {key.rpartition(".")[2] for key in found}
    about_others = {"release", "width", "layers"}  # of the source, and of the embedded backbone
    assert set(marked) - named - about_others == set()


SWITCHES = {"tokenize.alignment": ("infonce", "mmd"), "tokenize.commitment": (None, 0.01)}


@pytest.mark.parametrize("key", SWITCHES)
def test_the_authors_code_differs_in_this_switch(key: str) -> None:
    assert (values("paper").get(key), values("authors")[key]) == SWITCHES[key]


def test_the_authors_code_differs_in_no_other_switch() -> None:
    paper, authors = values("paper"), values("authors")
    assert {key for key in paper | authors if paper.get(key) != authors.get(key)} == set(SWITCHES)


OF_THE_MACHINE = {  # what the ablation `paper` leaves to the dataset: it runs on any processor
    "tokenize.dimension",
    "tokenize.hidden",
    "init_codes.backbone",
    "init_codes.dtype",
    "init_codes.input_hidden",
    "finetune.precision",
}


def test_the_ablation_paper_sets_what_the_preset_sets_but_for_what_the_machine_decides() -> None:
    preset, ablation = values("paper"), ablations.read(ROOT)["paper"].overrides
    assert {key: preset.get(key) for key in ablation} == ablation
    defaults = dict(config.flatten(read_sections(ROOT / "params.yaml")))
    left = {key for key in preset if key.startswith(("tokenize.", "init_codes.", "finetune."))} - set(ablation)
    assert {key for key in left if preset[key] != defaults[key]} == OF_THE_MACHINE


def test_a_preset_is_copied_into_the_conf_and_named_there(checkout: Path, catalogue: Path) -> None:
    run("toys", "--files", str(catalogue), "--preset", "authors")
    text = (checkout / "conf" / "toys.yaml").read_text(encoding="utf-8")
    assert "# by the preset authors (conf/presets/authors.yaml):" in text
    (checkout / "conf" / "presets" / "authors.yaml").unlink()
    assert config.load("toys", checkout).init_codes.items == "table"
    assert conf(checkout)["tokenize.alignment"] == "mmd"


def test_a_preset_wins_over_what_is_chosen_by_size_and_that_is_said(checkout: Path, catalogue: Path) -> None:
    assert "chosen by size tokenize.codes: 4" in run("plain", "--files", str(catalogue))
    said = run("toys", "--files", str(catalogue), "--preset", "paper")
    assert "chosen by size" not in said
    assert "tokenize.codes: 256 by the preset paper; by size it would be 4" in said
    assert (conf(checkout, "plain")["tokenize.codes"], conf(checkout)["tokenize.codes"]) == (4, 256)


def test_what_a_preset_leaves_open_is_chosen_by_size(checkout: Path, catalogue: Path) -> None:
    said = run("toys", "--files", str(catalogue), "--preset", "small")
    assert "chosen by size tokenize.codes: 4" in said
    assert "texts read by sentence_transformers, as the preset small says" in said
    assert conf(checkout)["tokenize.codes"] == 4


def test_what_the_catalogue_lacks_no_preset_brings(checkout: Path, catalogue: Path) -> None:
    said = run("toys", "--files", str(catalogue), "--preset", "paper")
    assert "encode_content.image: the preset paper has llm2clip, for which too few items have any" in said
    found = conf(checkout)
    assert (found["encode_content.text"], found["encode_content.image"]) == ("llm2clip", "none")
    assert found["prepare.drop_items_without"] == ["text"]


def test_the_text_model_of_a_preset_is_left_out_where_it_is_not_installed(
    checkout: Path, catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run("toys", "--files", str(catalogue), "--preset", "cpu")
    assert "the preset cpu has minilm, which is not installed (`mmesid weights minilm`)" in said
    assert conf(checkout)["encode_content.text"] == "lsa"
    ingest = Address("http://127.0.0.1:9", "Beauty", "2014", {}).ingest()
    told = yaml.safe_load(add_address.render("beauty", ingest, presets.read("cpu", checkout)))
    assert told["encode_content"] == {"text": "lsa"}
    monkeypatch.setattr(packaged, "find", lambda name: checkout)
    told = yaml.safe_load(add_address.render("beauty", ingest, presets.read("cpu", checkout)))
    assert told["encode_content"]["text"] == "sentence_transformers"
    assert told["finetune"]["max_hours"] == 10


def test_embeddings_of_the_catalogue_stay_where_a_preset_cannot_read_texts(checkout: Path, catalogue: Path) -> None:
    items = catalogue / "items.csv"
    items.write_text("item_id\n" + "\n".join(f"i{item}" for item in range(24)) + "\n", encoding="utf-8")
    (catalogue / "embeddings").mkdir()
    vectors = np.random.default_rng(0).standard_normal((24, 8)).astype(np.float32)
    ids = np.array([f"i{item}" for item in range(24)])
    np.savez(catalogue / "embeddings" / "text_own.npz", item_id=ids, embedding=vectors)
    run("toys", "--files", str(catalogue), "--preset", "paper")
    assert conf(checkout)["encode_content.text"] == "precomputed"


def test_a_conf_that_stays_is_held_against_the_preset(checkout: Path, catalogue: Path) -> None:
    run("toys", "--files", str(catalogue))
    again = ("toys", "--files", str(catalogue), "--force")
    with pytest.raises(ConfigError, match=r"toys\.yaml stays as it is, and is not the preset authors: .* and \d+ more"):
        run(*again, "--preset", "authors")
    assert conf(checkout)["tokenize.alignment"] == "infonce"
    run(*again, "--preset", "authors", "--reset-conf")
    assert conf(checkout)["tokenize.alignment"] == "mmd"


FAULTS = {
    "conf/presets/mine.yaml": ("finetune: {epoch: 3}", "Did you mean `epochs`"),
    "finetune.epochs": ("finetune: {epochs: many}", "it is 'many'"),
    "belongs into conf/": ("ingest: {source: files}", "is about one catalogue"),
    "seed is no section": ("seed: 3", "it belongs into params.yaml or conf/<dataset>.yaml"),
    "datasets is no section": ("datasets: [toys]", "it belongs into params.yaml"),
    "dataset is no section": ("dataset: toys", "mine.yaml"),
    "leads back to it": ("base: mine", "mine.yaml"),
    "no preset 'papr'": ("base: papr", "did you mean paper"),
}


@pytest.mark.parametrize("said", FAULTS)
def test_a_preset_that_is_wrong_is_one_sentence_and_nothing_is_written(
    said: str, checkout: Path, catalogue: Path
) -> None:
    text, more = FAULTS[said]
    (checkout / "conf" / "presets" / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        run("toys", "--files", str(catalogue), "--preset", "mine")
    assert said in str(caught.value)
    assert more in str(caught.value)
    assert not (checkout / "sources" / "toys").exists()


def test_an_unknown_preset_lists_those_that_exist(checkout: Path, catalogue: Path) -> None:
    with pytest.raises(ConfigError, match=r"no preset 'best': conf/presets/ has authors, cpu, paper, small"):
        run("toys", "--files", str(catalogue), "--preset", "best")
