"""Catalogues with one modality or none run to their metrics, their page and their gate's evidence, with the very conf
that `mmesid add` suggests (made small)."""

import io
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from mmesid import config as configuration
from mmesid import tracking
from mmesid.artifacts.encode import load_embeddings
from mmesid.artifacts.evaluate import load_metrics
from mmesid.artifacts.files import load_json
from mmesid.artifacts.store import Store
from mmesid.commands.add import add
from mmesid.registry.card import write_card
from mmesid.stages import report
from tests import tiny

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(900)]
NAME = "shop"
IDS = [str(1000 + 7 * number) for number in range(24)]
STAGES = (
    "ingest",
    "validate",
    "prepare",
    "encode_collaborative",
    "encode_content",
    "tokenize",
    "init_codes",
    "finetune",
    "baselines",
    "fuse",
    "evaluate",
)


def ids_only(folder: Path) -> None:
    pd.DataFrame({"item_id": IDS}).to_csv(folder / "items.csv", index=False)


def pictures_without_text(folder: Path) -> None:
    ids_only(folder)
    (folder / "images").mkdir()
    draw = np.random.default_rng(1)
    for item_id in IDS:
        buffer = io.BytesIO()
        Image.fromarray(draw.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(buffer, "PNG")
        (folder / "images" / f"{item_id}.png").write_bytes(buffer.getvalue())


def text_without_pictures(folder: Path) -> None:
    titles = [f"{('Amber', 'Birch', 'Cedar')[number % 3]} lamp {number}" for number in range(len(IDS))]
    pd.DataFrame({"item_id": IDS, "title": titles}).to_csv(folder / "items.csv", index=False)


def given(modality: str) -> Callable[[Path], None]:
    """Ids and a precomputed embedding; one vector is of zeros."""

    def write(folder: Path) -> None:
        ids_only(folder)
        matrix = np.random.default_rng(2).standard_normal((len(IDS), 6)).astype(np.float32)
        matrix[3] = 0
        (folder / "embeddings").mkdir()
        np.savez(folder / "embeddings" / f"{modality}_own.npz", item_id=np.array(IDS), embedding=matrix)

    return write


def make(root: Path, write: Callable[[Path], None]) -> configuration.Config:
    """A project with one dataset, added as a person would, then made small."""
    files = root.with_name("files")
    files.mkdir()
    write(files)
    draw = np.random.default_rng(0)
    rows = [(f"u{user:02}", item, step) for user in range(24) for step, item in enumerate(draw.permutation(IDS)[:9])]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(files / "interactions.csv", index=False)
    add(NAME, files, root)
    suggested = yaml.safe_load((root / "conf" / f"{NAME}.yaml").read_text(encoding="utf-8"))
    small = {**tiny.CONF, "tokenize": {k: v for k, v in tiny.CONF["tokenize"].items() if k != "codes"}}
    conf = {section: {**small.get(section, {}), **suggested.get(section, {})} for section in {**small, **suggested}}
    (root / "conf" / f"{NAME}.yaml").write_text(yaml.safe_dump(conf), encoding="utf-8")
    tiny.configure(root, NAME)
    return configuration.load(NAME, root)


@pytest.mark.parametrize(
    ("write", "modalities"),
    [
        (ids_only, []),
        (pictures_without_text, ["image"]),
        (text_without_pictures, ["text"]),
        (given("text"), ["text"]),
        (given("image"), ["image"]),
    ],
    ids=["ids only", "pictures", "text", "given text", "given pictures"],
)
def test_a_catalogue_with_one_modality_or_none_runs_to_its_metrics(
    write: Callable[[Path], None],
    modalities: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    project_copy: Callable[[Path], Path],
) -> None:
    root = project_copy(tmp_path / "project")
    config = make(root, write)
    if modalities:  # the rival whose items are made of content alone
        rivals = config.baselines.model_copy(update={"rivals": ["content_transformer"]})
        config = config.model_copy(update={"baselines": rivals})
    monkeypatch.chdir(root)
    store = Store(NAME)
    for stage in STAGES:
        with tracking.silent_run(stage) as log:
            import_module(f"mmesid.stages.{stage}").run(config, store, log)
        assert any(store.folder(stage).iterdir()), f"{stage} leaves an empty folder, which neither git nor DVC carries"
    assert list(load_json(store.folder("encode_content") / "modalities.json")) == modalities
    assert list(load_embeddings(store)) == ["collaborative", *modalities]
    said = "collaborative is the only modality, there is nothing to align"
    assert (said in capsys.readouterr().err) == (not modalities)
    metrics = load_metrics(store)
    assert set(metrics["tokenizer"]) == {"collaborative", *modalities}
    assert 0 <= metrics["test"]["mme_sid"]["ndcg_at_10"] <= 1
    for row in ("content_transformer", "content_transformer_fused"):
        assert (row in metrics["test"]) == bool(modalities)
    report.run([config])
    assert (root / "reports" / "report.html").stat().st_size > 10_000
    assert f"modalities: {', '.join(['collaborative', *modalities])};" in write_card(NAME, config, metrics, {})
