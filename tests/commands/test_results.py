"""The README's results are those of the committed metrics."""

import shutil
from pathlib import Path

import pytest

from mmesid.commands import results
from mmesid.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_what_the_committed_metrics_say(tmp_path: Path) -> None:
    document = Path(shutil.copy(ROOT / "README.md", tmp_path))
    results.write(document, ROOT)
    assert document.read_text(encoding="utf-8") == (ROOT / "README.md").read_text(encoding="utf-8"), (
        "run `make results`"
    )


def test_every_row_carries_its_command() -> None:
    rows = [line for line in results.table(ROOT).splitlines() if line.startswith("| ")][1:]
    assert rows
    assert all("make repro" in row for row in rows)
    assert rows[0].startswith("| sample |")


def test_a_document_without_markers_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("# Nothing to fill\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="must hold the lines"):
        results.write(document, ROOT)
    assert document.read_text(encoding="utf-8") == "# Nothing to fill\n"


def test_a_project_without_results_says_what_makes_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make repro"):
        results.table(tmp_path)
