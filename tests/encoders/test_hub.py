"""Encoders from a hub: a download says how far it is, loading says nothing."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmesid.artifacts import hub_bars
from mmesid.encoders import text_model
from tests.encoders.test_text_model import settings
from tests.hub_server import Hub, hub_of


@pytest.fixture
def shop(tmp_path: Path, tiny_bert: Path) -> Iterator[None]:
    with hub_of(tiny_bert, tmp_path):
        yield


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_download_of_weights_says_how_far_it_is(
    shop: None, is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    monkeypatch.setattr(hub_bars, "BAR_SECONDS", 0.0)
    monkeypatch.setattr(hub_bars, "LINE_SECONDS", 0.0)
    assert text_model.load(settings("shop/reader"), 3, "cpu").revision == "c" * 40
    said = capsys.readouterr().err
    line = r"^model\.safetensors: 0\.0 of 0\.0 MB$" if not is_terminal else r"model\.safetensors: .*%"
    assert re.search(line, said, re.MULTILINE), said
    assert is_terminal or "\r" not in said
    assert "Loading" not in said
    text_model.load(settings("shop/reader"), 3, "cpu")
    assert "model.safetensors" not in capsys.readouterr().err


@pytest.mark.parametrize("is_marked", [True, False])
def test_a_hub_that_fails_is_not_asked_for_every_file_of_a_model_in_the_cache(
    shop: None, tmp_path: Path, is_marked: bool
) -> None:
    """`hf download` leaves no marks of the files that a model lacks."""
    revision = text_model.load(settings("shop/reader"), 3, "cpu").revision
    if not is_marked:
        shutil.rmtree(tmp_path / "models--shop--reader" / ".no_exist")
    Hub.fails = True
    assert text_model.load(settings("shop/reader"), 3, "cpu").revision == revision
    assert Hub.asked == 2
