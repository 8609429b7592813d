"""The stage leaves verdict, rejects and page whether or not the gate holds, and stops the pipeline when it does not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmesid import config
from mmesid.artifacts.ingest import save_catalogue
from mmesid.artifacts.store import Store
from mmesid.artifacts.validate import load_validation
from mmesid.artifacts.values import Catalogue
from mmesid.errors import ValidationFailed
from mmesid.stages import validate

CONFIG = config.load("sample", Path(__file__).parents[2])


class Log:
    """What a stage reports, kept."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.artifacts: list[Path] = []

    def __call__(self, metrics: dict[str, float], step: int) -> None:
        self.metrics |= metrics

    def artifact(self, path: Path) -> None:
        self.artifacts.append(path)


def ingested(root: Path, unknown: int) -> Store:
    """A catalogue without pictures, `unknown` of whose interactions name an item that it lacks."""
    items = [f"i{number}" for number in range(24)]
    rows = [(f"u{user}", items[(user + step) % 24], step) for user in range(30) for step in range(10)]
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    interactions.loc[: unknown - 1, "item_id"] = "[red]gone"
    table = pd.DataFrame({"item_id": items, "title": "Scarf", "image": None, "image_name": None})
    store = Store("shop", root)
    located = [
        frame.assign(file=file, row=np.arange(1, len(frame) + 1))
        for frame, file in ((interactions, "interactions.csv"), (table, "items.csv"))
    ]
    save_catalogue(store, Catalogue(located[0], located[1], {}))
    return store


def test_a_good_catalogue_passes_and_leaves_its_verdict(tmp_path: Path) -> None:
    store, log = ingested(tmp_path, unknown=0), Log()
    validate.run(CONFIG, store, log)
    result, rejects = load_validation(store)
    assert result["passed"]
    assert rejects.empty
    assert log.metrics["failing"] == 0
    assert [path.name for path in log.artifacts] == ["report.html"]


def test_a_failure_leaves_everything_and_names_row_limit_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, log = ingested(tmp_path, unknown=2), Log()
    with pytest.raises(ValidationFailed) as failure:
        validate.run(CONFIG, store, log)
    message = str(failure.value)
    for named in ("validate.max_unknown_items", "2 of 300", "report.html", "rejects.parquet", "conf/sample.yaml"):
        assert named in message
    result, rejects = load_validation(store)
    assert not result["passed"]
    assert rejects["row"].tolist() == [1, 2]
    assert "[red]gone" in store.folder("validate").joinpath("report.html").read_text(encoding="utf-8")
    assert "[red]gone" in capsys.readouterr().err


def test_the_same_catalogue_gives_the_same_files(tmp_path: Path) -> None:
    written = []
    for name in ("one", "two"):
        store = ingested(tmp_path / name, unknown=1)
        with pytest.raises(ValidationFailed):
            validate.run(CONFIG, store, Log())
        written.append({path.name: path.read_bytes() for path in store.folder("validate").iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {"result.json", "rejects.parquet", "report.html"}
