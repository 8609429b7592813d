from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmesid import config
from mmesid.artifacts.curves import save_curves
from mmesid.artifacts.evaluate import save_examples, save_metrics, save_spectra
from mmesid.artifacts.prepare import save_prepared
from mmesid.artifacts.store import Store
from mmesid.artifacts.tokenize import save_semantic_ids
from mmesid.artifacts.values import Prepared, SemanticIds, Sequences
from mmesid.stages import report as stage

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def workspace(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    metrics: dict[str, Any],
    items: pd.DataFrame,
    pictures: list[bytes | None],
) -> config.Config:
    """A folder in which only what every dataset has was written."""
    monkeypatch.chdir(tmp_path)
    store = Store("sample")
    save_metrics(store, metrics)
    save_prepared(store, Prepared(Sequences(["u"], [np.array([1, 2, 3])], 4), items, pictures))
    codes = {"text": np.zeros((5, 2), dtype=np.int64)}
    codebooks = {"text": np.zeros((2, 3, 4), dtype=np.float32)}
    save_semantic_ids(store, SemanticIds(codes, codebooks, {"text": np.array([False] + [True] * 4)}))
    return config.load("sample", PROJECT)


def test_what_a_stage_did_not_write_is_left_out(workspace: config.Config) -> None:
    stage.run([workspace])
    text = Path("reports/report.html").read_text(encoding="utf-8")
    assert "MME-SID (LoRA)" in text
    assert "<h3>Examples</h3>" not in text


def test_everything_a_stage_wrote_is_shown(workspace: config.Config, chosen: list[dict[str, Any]]) -> None:
    store = Store("sample")
    save_curves(store, "finetune", [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}])
    save_examples(store, chosen)
    save_spectra(store, {"item input": [1.0, 0.2]})
    stage.run([workspace])
    text = Path("reports/report.html").read_text(encoding="utf-8")
    for part in ("<h3>Training</h3>", "<h3>Examples</h3>", "Singular spectrum", "data:image/jpeg", "found at 2"):
        assert part in text


def test_a_dataset_that_is_not_judged_is_left_out(workspace: config.Config) -> None:
    Path("data/sample/evaluate/metrics.json").unlink()
    stage.run([workspace])
    assert 'id="dataset-1"' not in Path("reports/report.html").read_text(encoding="utf-8")
