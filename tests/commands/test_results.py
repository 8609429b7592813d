"""The README's results are those of the committed metrics."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mmesid.commands import results
from mmesid.errors import ArtifactError, ConfigError

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


def test_the_command_names_the_source(project_copy: Callable[[Path], Path], tmp_path: Path) -> None:
    root = project_copy(tmp_path / "project")
    assert results.command_for("sample", root) == "make repro"
    assert results.command_for("toys", root) == "mmesid add toys --files PATH && make repro DATASETS=toys"
    amazon = "mmesid add {} --source amazon --category {} --from ADDRESS && make repro DATASETS={}"
    assert results.command_for("amazon-toys", root) == amazon.format("amazon-toys", "Toys_and_Games", "amazon-toys")
    ingest = {"source": "amazon", "base_url": "http://there", "category": "Beauty"}
    (root / "conf" / "mine.yaml").write_text(yaml.safe_dump({"ingest": ingest}), encoding="utf-8")
    assert results.command_for("mine", root) == amazon.format("mine", "Beauty", "mine")
    (root / "conf" / "mine.yaml").write_text(
        yaml.safe_dump({"ingest": {**ingest, "release": "2023"}}), encoding="utf-8"
    )
    assert "--category Beauty --release 2023 --from ADDRESS" in results.command_for("mine", root)


def test_damaged_metrics_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "toys"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"toys/metrics\.json is damaged: it holds a list"):
        results.table(tmp_path)


def test_odd_values_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "toys"
    folder.mkdir(parents=True)
    mine = {"ndcg_at_5": 0.1, "ndcg_at_10": 0.2, "ci95": {"ndcg_at_5": [None, None], "ndcg_at_10": 3}}
    vs = {"sasrec": {"difference": 0.1, "low": 0.05, "high": 0.15, "p_value": 0.01}}
    test = {"mme_sid": {**mine, "vs": vs}, "sasrec": {"ndcg_at_5": 0.1, "ndcg_at_10": 0.1}}
    metrics = {"test": test, "data": {"tied": None}, "protocol": {"exclude_history": False}}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    text = results.table(tmp_path)
    assert "| toys | MME-SID | **0.1000** | **0.2000** |" in text
    assert text.strip().endswith("Its users' earlier items are candidates as well.")


def test_a_document_without_markers_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("# Nothing to fill\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="must hold the lines"):
        results.write(document, ROOT)
    assert document.read_text(encoding="utf-8") == "# Nothing to fill\n"


def test_a_document_that_is_missing_or_no_text_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.md does not exist"):
        results.write(tmp_path / "none.md", ROOT)
    document = tmp_path / "page.md"
    document.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"page\.md is no text in UTF-8"):
        results.write(document, ROOT)


def test_a_project_without_results_says_what_makes_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make repro"):
        results.table(tmp_path)
