"""DVC's experiments in a temporary copy of the checkout: git and DVC carry all that a stage needs, its log stays."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mmesid import tracking
from mmesid.artifacts.store import home
from mmesid.commands.listing import enable_dataset
from mmesid.pipeline import experiment, sources
from mmesid.pipeline.repo import opened
from tests import tiny

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]


def test_a_temporary_copy_belongs_to_its_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "tmpabc"
    copy.mkdir(parents=True)
    assert home(copy) == tmp_path
    assert home(tmp_path) == tmp_path
    assert tracking.tracking_uri(copy) == tracking.tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    monkeypatch.chdir(copy)
    assert home() == tmp_path


def test_a_copy_shares_the_cache_whatever_the_folder_is_named(
    tmp_path: Path, project_copy: Callable[[Path], Path]
) -> None:
    root = project_copy(tmp_path / "it's #1, ä")
    (root / "dvc.lock").write_text("schema: '2.0'\n", encoding="utf-8")  # no stage has run
    copy = experiment.folder_of("one", root)
    experiment.make(copy, "sample", "", root)
    with opened(root) as mine, opened(copy) as copied:
        assert copied.cache.local_cache_dir == mine.cache.local_cache_dir == str(root / ".dvc" / "cache")


@pytest.mark.parametrize(
    "written",
    [
        "datasets:\n  - sample\n  # another\n  - toys\n",
        "datasets: [sample,\n  toys]\n",
        "datasets:\n- sample\n- toys\n",
    ],
)
def test_a_copy_has_one_dataset_however_the_list_is_written(
    tmp_path: Path, project_copy: Callable[[Path], Path], written: str
) -> None:
    root = project_copy(tmp_path / "project")
    params = (root / "params.yaml").read_text(encoding="utf-8")
    _, _, rest = params.partition("datasets:")
    (root / "params.yaml").write_text(written + rest.partition("\n")[2], encoding="utf-8")
    copy = experiment.folder_of("one", root)
    experiment.make(copy, "sample", "", root)
    copied = yaml.safe_load((copy / "params.yaml").read_text(encoding="utf-8"))
    assert copied == yaml.safe_load(params) | {"datasets": ["sample"]}


@pytest.mark.pipeline
@pytest.mark.parametrize("external", [False, True])
def test_an_experiment_on_an_own_catalogue_runs_in_a_temporary_copy(
    tmp_path: Path, project_copy: Callable[[Path], Path], external: bool
) -> None:
    root, files = project_copy(tmp_path / "project"), tmp_path / "toys"
    files.mkdir()
    numbers = np.arange(40)
    rows = pd.DataFrame({"user_id": numbers % 5, "item_id": numbers % 8, "timestamp": numbers})
    rows.to_csv(files / "interactions.csv", index=False)
    pd.DataFrame({"item_id": range(8), "title": "a toy"}).to_csv(files / "items.csv", index=False)
    sources.place(files, "toys", root, external)
    sources.track("toys", root)
    tiny.write_yaml(root / "conf" / "toys.yaml", {"ingest": {"source": "files"}, "finetune": {"epochs": 2}})
    enable_dataset("toys", root)
    for command in (["git", "add", "."], [*GIT, "commit", "--quiet", "--message", "toys"]):
        assert tiny.run(root, *command).returncode == 0
    stage = root / "src" / "mmesid" / "stages" / "ingest.py"
    stage.write_text(stage.read_text(encoding="utf-8").replace("len(catalogue.items)", "7"), encoding="utf-8")
    done = tiny.run(root, "dvc", "exp", "run", "--temp", "ingest@toys", "-S", "conf/toys.yaml:finetune.epochs=3")
    assert done.returncode == 0, done.stdout
    assert not (root / "data").exists(), "the checkout itself is untouched"
    (journal,) = (root / "mlruns" / "journal").glob("*/toys.ingest.jsonl*")
    text = journal.read_text(encoding="utf-8")
    assert '"interactions": 40.0, "items": 7.0' in text, "the code that was copied has run, and its log is kept"


@pytest.mark.pipeline
def test_what_a_lock_of_another_machine_records_comes_from_the_run_cache(
    tmp_path: Path, project_copy: Callable[[Path], Path]
) -> None:
    """Its outputs are nowhere here, and for what a lock records DVC itself asks no run cache."""
    root = tiny.make(project_copy(tmp_path / "project"))
    conf = (root / "conf" / f"{tiny.NAME}.yaml").read_text(encoding="utf-8")
    said: list[str] = []

    def ingest(name: str) -> Path:
        folder = experiment.folder_of(name, root)
        experiment.make(folder, tiny.NAME, conf, root)
        said.clear()
        experiment.run(folder, f"ingest@{tiny.NAME}", {}, said.append)
        return folder

    lock = yaml.safe_load((ingest("first") / "dvc.lock").read_text(encoding="utf-8"))
    assert f"Running stage 'ingest@{tiny.NAME}':" in said
    for output in lock["stages"][f"ingest@{tiny.NAME}"]["outs"]:
        output["md5"] = f"{'0' * 32}.dir"
    tiny.write_yaml(root / "dvc.lock", lock)
    ingest("second")
    assert f"Stage 'ingest@{tiny.NAME}' is cached - skipping run, checking out outputs" in said
