"""The list of datasets in params.yaml: edited as a person would, and read as text by every YAML."""

from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import parse_yaml

from mmesid.commands import listing
from mmesid.errors import ConfigError


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("datasets: [a]  # why\nseed: 0\n", "datasets: [a, new]  # why\nseed: 0\n"),
        ("datasets: [a, b,]\n", "datasets: [a, b, new]\n"),
        ("datasets: []\n", "datasets: [new]\n"),
        ("datasets:\n  - a  # one\n  - b\nseed: 0\n", "datasets:\n  - a  # one\n  - b\n  - new\nseed: 0\n"),
        ("datasets:\n- a\n\nother:\n- b\n", "datasets:\n- a\n- new\n\nother:\n- b\n"),
        ("datasets: [new]\n", "datasets: [new]\n"),
    ],
)
def test_listing_a_dataset_changes_nothing_else(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "params.yaml").write_text(before, encoding="utf-8")
    listing.enable_dataset("new", tmp_path)
    assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == after


@pytest.mark.parametrize("text", ["datasets: [a,\n  b]\n", "seed: 0\n", "datasets: {a: 1}\n"])
def test_a_list_in_another_form_is_left_to_the_person(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="add `new` to the list by hand"):
        listing.enable_dataset("new", tmp_path)
    assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "name", ["2024", "on", "off", "1e5", "null", "yes", "no", "y", "true", "0x10", "0o17", "1_000"]
)
@pytest.mark.parametrize("before", ["datasets: [a]\n", "datasets:\n  - a\n"])
def test_a_name_is_text_whatever_yaml_makes_of_it(tmp_path: Path, before: str, name: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(before, encoding="utf-8")
    listing.enable_dataset(name, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text) == parse_yaml(text, str(path)) == {"datasets": ["a", name]}, "YAML 1.1 and DVC's 1.2"
    listing.enable_dataset(name, tmp_path)
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", ["toys", "ml-1m", "a1e5", "none_of_them"])
def test_an_ordinary_name_stands_without_quotes(name: str) -> None:
    assert listing.spelled(name) == name
