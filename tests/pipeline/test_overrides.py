"""Overrides of a retrain: checked against the strict sections, then written whole or not at all."""

from pathlib import Path
from typing import Any

import pytest

from mmesid import config
from mmesid.errors import ConfigError
from mmesid.pipeline.overrides import apply, edited, parse

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    for name in ("a", "b"):
        text = "finetune:\ntokenize:\n  codes: 64  # few items\n"
        (tmp_path / "conf" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def test_an_override_stands_in_the_files_and_remarks_stay(root: Path) -> None:
    given: dict[str, Any] = {"finetune.epochs": 2, "tokenize.codes": 64, "init_codes.embedded.layers": 1}
    said = apply(given, ["a", "b"], root)
    assert said[0] == "conf/a.yaml: finetune.epochs was 30, is 2"
    assert len(said) == 4  # tokenize.codes was 64 already
    for name in ("a", "b"):
        changed = config.load(name, root)
        assert (changed.finetune.epochs, changed.tokenize.codes, changed.init_codes.embedded.layers) == (2, 64, 1)
        assert "# few items" in (root / "conf" / f"{name}.yaml").read_text(encoding="utf-8")
    assert apply(given, ["a", "b"], root) == []


def test_a_small_number_stays_one(root: Path) -> None:
    apply(dict([parse("finetune.learning_rate=1e-5"), ("finetune.weight_decay", 0.00002)]), ["a"], root)
    changed = config.load("a", root).finetune
    assert (changed.learning_rate, changed.weight_decay) == (0.00001, 0.00002)
    assert apply({"finetune.epochs": 2}, ["a"], root), "what was written can be read again"


def test_a_mapping_changes_the_keys_that_it_names_and_no_others(root: Path) -> None:
    """As a conf does over params.yaml; else the dataset's own width would silently be the default again."""
    apply({"init_codes.embedded.width": 64, "init_codes.embedded.layers": 2}, ["a"], root)
    given: dict[str, Any] = {"init_codes.embedded": {"layers": 1}}
    text = edited(given, "a", root)
    (root / "conf" / "a.yaml").write_text(text, encoding="utf-8")
    changed = config.load("a", root).init_codes.embedded
    assert (changed.width, changed.layers) == (64, 1)


@pytest.mark.parametrize("text", ["# nothing differs yet\n", "", "{}\n", "prepare:\n  # none\n"])
def test_a_file_without_any_section_takes_an_override(root: Path, text: str) -> None:
    (root / "conf" / "a.yaml").write_text(text, encoding="utf-8")
    apply({"finetune.epochs": 2, "protocol.history_length": 9}, ["a"], root)
    changed = config.load("a", root)
    assert (changed.finetune.epochs, changed.protocol.history_length) == (2, 9)
    assert text.startswith("#") == (root / "conf" / "a.yaml").read_text(encoding="utf-8").startswith("# nothing")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"finetune.epochs": 2, "finetune.lerning_rate": 0.1}, "Did you mean `learning_rate`"),
        ({"finetune.epochs": "two"}, r"finetune\.epochs: Input should be a valid integer"),
        ({"finetune.epochs": 0}, "greater than or equal to 1"),
        ({"evaluate.exclude_history": False}, "evaluate.exclude_history is now protocol.exclude_history"),
        ({"finetune": 2}, "must be SECTION.KEY, like finetune.epochs"),
        ({"seed": 1}, "must be SECTION.KEY"),
        ({"seed.x": 1}, "must be SECTION.KEY"),
        ({"fintune.epochs": 1}, "must be SECTION.KEY"),
        ({"finetune..epochs": 1}, "must be SECTION.KEY"),
    ],
)
def test_a_wrong_one_changes_nothing(root: Path, overrides: dict[str, Any], message: str) -> None:
    before = {path: path.read_bytes() for path in (root / "conf").iterdir()}
    with pytest.raises(ConfigError, match=message):
        apply(overrides, ["a", "b"], root)
    assert {path: path.read_bytes() for path in (root / "conf").iterdir()} == before


def test_a_dataset_without_a_file_is_named_and_the_others_stay(root: Path) -> None:
    before = (root / "conf" / "a.yaml").read_bytes()
    with pytest.raises(ConfigError, match="dataset 'c' has no conf"):
        apply({"finetune.epochs": 2}, ["a", "c"], root)
    assert (root / "conf" / "a.yaml").read_bytes() == before


def test_a_value_of_the_command_line_is_yaml() -> None:
    assert parse("finetune.epochs=2") == ("finetune.epochs", 2)
    assert parse("finetune.max_targets_per_epoch=null") == ("finetune.max_targets_per_epoch", None)
    for text in ("finetune.epochs", "finetune.epochs=[1"):
        with pytest.raises(ConfigError, match=r"must be SECTION\.KEY=VALUE"):
            parse(text)
