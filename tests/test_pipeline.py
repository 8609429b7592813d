"""The whole pipeline on a tiny world: complete, idle when nothing changes, stopped by bad input before it trains."""

import importlib.util
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mmesid.artifacts.baselines import load_rivals
from mmesid.artifacts.evaluate import load_metrics, load_ranks
from mmesid.artifacts.fuse import load_fusion
from mmesid.artifacts.prepare import load_sequences
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import SPLITS
from mmesid.baselines import BASELINES
from mmesid.config import load
from mmesid.evaluation.ranking import judge
from mmesid.fusion.fused import Fused
from mmesid.models import MAIN_MODEL, MODELS, NETWORK_MODEL
from mmesid.recommender import loading
from mmesid.recommender.inference import Scorer
from tests import tiny

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[1]
STAGES = list(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
TRAINING = ("encode_collaborative", "encode_content", "tokenize", "init_codes", "finetune")


@pytest.fixture
def checkout(trained: tiny.Trained, tmp_path: Path) -> Path:
    """A copy of the trained world, DVC's cache included, to be changed."""
    return Path(shutil.copytree(trained.root, tmp_path / "copy", symlinks=True))


def test_every_stage_runs_once_and_leaves_its_output(trained: tiny.Trained) -> None:
    assert sorted(trained.seconds) == sorted(STAGES)
    for stage in STAGES[:-1]:
        assert any((trained.root / "data" / tiny.NAME / stage).iterdir())
    assert (trained.root / "reports" / "report.html").stat().st_size > 10_000


def test_metrics_hold_every_promised_number(trained: tiny.Trained) -> None:
    specification = importlib.util.spec_from_file_location("check_sample", ROOT / ".ci" / "check_sample.py")
    assert specification is not None
    assert specification.loader is not None
    check = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(check)
    metrics = json.loads((trained.root / "reports" / tiny.NAME / "metrics.json").read_text(encoding="utf-8"))
    assert [name for name in check.promised() if check.lookup(metrics, name) is None] == []
    assert [name for name, value in check.numbers(metrics, "") if not math.isfinite(value)] == []


def test_a_second_run_does_nothing(trained: tiny.Trained) -> None:
    started = time.monotonic()
    done = tiny.run(trained.root, "dvc", "repro")
    assert "Data and pipelines are up to date." in done.stdout
    assert "Running stage" not in done.stdout
    assert time.monotonic() - started < 30


def test_a_changed_value_redoes_what_follows_and_nothing_else(checkout: Path) -> None:
    tiny.override(checkout, {"evaluate": {"bootstrap": 101}})
    assert list(tiny.repro(checkout)) == ["configure", "evaluate", "report"]


def test_the_protocol_reaches_every_model(checkout: Path) -> None:
    """Every row is ranked among the same candidates, and checkpoints are selected so as well."""
    store = Store(tiny.NAME, checkout)
    before = load_ranks(store)
    tiny.override(checkout, {"protocol": {"exclude_history": False}})
    ran = tiny.repro(checkout, f"evaluate@{tiny.NAME}")
    assert {"encode_collaborative", "finetune", "fuse", "evaluate"} <= set(ran)
    assert "encode_content" not in ran
    after, sequences, config = load_ranks(store), load_sequences(store), load(tiny.NAME, checkout)
    model = loading.load_finetuned(store.folder("init_codes"), store.folder("finetune"), "cpu")
    network = Scorer(model)
    scores = {MAIN_MODEL: Fused(network, load_fusion(store.folder("fuse")), MAIN_MODEL), NETWORK_MODEL: network}
    built = {name: build(store, config, sequences) for name, build in BASELINES.items()}
    scores |= {name: row for name, row in built.items() if row is not None}
    unlisted = {name for name, model in MODELS.items() if model.listed}
    assert set(scores) == set(MODELS) - unlisted == set(after["model"])
    for name, row in scores.items():
        for split in SPLITS:
            now = after[(after["model"] == name) & (after["split"] == split)]["rank"].to_numpy()
            then = before[(before["model"] == name) & (before["split"] == split)]["rank"].to_numpy()
            judged = judge(row, sequences.history(split), sequences.target(split), exclude_history=False)
            assert now.tolist() == judged.ranks.tolist(), name
            assert now.tolist() != then.tolist(), name


def test_a_rival_that_is_listed_gets_its_rows_and_changes_no_other(checkout: Path) -> None:
    store = Store(tiny.NAME, checkout)
    before, rows = load_metrics(store), {"content_transformer", "content_transformer_fused"}
    ranks = load_ranks(store)
    assert not rows & set(before["test"])
    assert load_rivals(store) == []
    tiny.override(checkout, {"baselines": {**tiny.CONF["baselines"], "rivals": ["content_transformer"]}})
    assert list(tiny.repro(checkout)) == ["configure", "baselines", "fuse", "evaluate", "report"]
    after = load_metrics(store)
    for split in SPLITS:
        assert set(after[split]) == set(before[split]) | rows
    assert set(after["fusion"]) == {*before["fusion"], "content_transformer_fused"}
    found = load_ranks(store)
    assert found[~found["model"].isin(rows)].reset_index(drop=True).equals(ranks)
    assert "Content transformer, fused late" in (checkout / "reports" / "report.html").read_text(encoding="utf-8")
    tiny.override(checkout, {"baselines": {"rivals": []}})
    tiny.repro(checkout)
    assert load_metrics(store) == before


def test_output_holds_no_time_run_or_path(trained: tiny.Trained) -> None:
    texts = [path for path in (trained.root / "data").rglob("*") if path.suffix in (".json", ".html", ".jsonl")]
    assert texts
    assert not [path for path in texts if str(trained.root) in path.read_text(encoding="utf-8")]


def write_catalogue(folder: Path, unknown: str = "i0", column: str = "timestamp") -> None:
    """Thirty users with ten interactions each; the last one's item may be unknown, a column may have a wrong name."""
    folder.mkdir(parents=True)
    rows = [(f"u{user}", f"i{(user + step) % 25}", step) for user in range(30) for step in range(10)]
    rows[-1] = (rows[-1][0], unknown, rows[-1][2])
    pd.DataFrame(rows, columns=["user_id", "item_id", column]).to_csv(folder / "interactions.csv", index=False)
    items = pd.DataFrame(
        {"item_id": [f"i{item}" for item in range(25)], "title": [f"toy {item}" for item in range(25)]}
    )
    items.to_csv(folder / "items.csv", index=False)


FAULTS = {
    "a column is missing": ({"column": "when"}, {}, "timestamp"),
    "an interaction with an unknown item": ({"unknown": "i999"}, {}, "i999"),
    "a mistyped key": ({}, {"finetune": {"lerning_rate": 0.1}}, "Did you mean `learning_rate`?"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_stops_before_any_training(tmp_path: Path, project_copy: Callable[[Path], Path], fault: str) -> None:
    flaws, changes, said = FAULTS[fault]
    root = tiny.make(project_copy(tmp_path / "bad"))
    shutil.rmtree(root / "sources" / tiny.NAME)
    write_catalogue(root / "sources" / tiny.NAME, **flaws)
    tiny.override(root, {"ingest": {"source": "files"}})
    tiny.override(root, changes)
    done = tiny.run(root, "dvc", "repro", f"evaluate@{tiny.NAME}")
    assert done.returncode != 0
    assert said in done.stdout
    assert "Traceback" not in done.stdout
    assert not [stage for stage in TRAINING if (root / "data" / tiny.NAME / stage).exists()]


def test_a_backbone_that_does_not_exist_is_one_clear_message(checkout: Path) -> None:
    tiny.override(checkout, {"init_codes": {"backbone": "./no/such/folder"}})
    tiny.configure(checkout)
    done = tiny.run(checkout, "python", "-m", "mmesid.stages.init_codes", tiny.NAME)
    assert done.returncode == 1
    assert "./no/such/folder" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="needs a folder that even root cannot write to")
def test_a_data_folder_that_cannot_be_written_is_one_clear_message(checkout: Path) -> None:
    shutil.rmtree(checkout / "data")
    (checkout / "data").symlink_to("/sys")
    done = tiny.run(checkout, "python", "-m", "mmesid.stages.configure", tiny.NAME)
    assert done.returncode == 1
    assert f"data/{tiny.NAME}" in done.stdout
    assert "Traceback" not in done.stdout


def test_another_python_says_what_it_lacks(checkout: Path) -> None:
    bare = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    done = subprocess.run(
        [bare, "-m", "mmesid.stages.ingest", tiny.NAME], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "No module named 'mmesid'" in done.stderr


PROMOTE_BY_HAND = """
from mmesid import tracking
tracking.client().set_registered_model_alias("mme-sid-tiny", "champion", "1")
"""


def test_a_model_whose_ranks_are_of_another_run_is_not_registered(checkout: Path) -> None:
    path = checkout / "data" / tiny.NAME / "finetune" / "adapter.json"
    before = path.read_bytes()
    path.unlink()  # a link of DVC's cache
    path.write_bytes(before + b" ")
    try:
        for command in ("register", "promote"):
            refused = tiny.run(checkout, "mmesid", command, tiny.NAME)
            assert refused.returncode == 1
            said = " ".join(refused.stdout.split())
            assert f"what lies in data/{tiny.NAME} is not of one run" in said
            assert f"make repro DATASETS={tiny.NAME}" in said
    finally:
        path.write_bytes(before)


def test_a_trained_model_is_registered_judged_and_asked(checkout: Path) -> None:
    registered = tiny.run(checkout, "mmesid", "register", tiny.NAME)
    assert registered.returncode == 0, registered.stdout
    assert "mme-sid-tiny: version 1 is the challenger" in registered.stdout
    judged = tiny.run(checkout, "mmesid", "promote", tiny.NAME)
    assert judged.returncode == (0 if "becomes champion" in judged.stdout else 1), judged.stdout
    assert "popularity" in judged.stdout
    assert judged.stdout.split() == tiny.run(checkout, "mmesid", "history", tiny.NAME).stdout.split()
    if judged.returncode:  # so little training seldom passes the gate
        assert tiny.run(checkout, "python", "-c", PROMOTE_BY_HAND).returncode == 0
    ask = ["mmesid", "recommend", tiny.NAME, "--history", "i00001,i00002,i99999", "-k", "5"]
    answered, again = tiny.run(checkout, *ask), tiny.run(checkout, *ask)
    assert answered.returncode == 0, answered.stdout
    rows = [line.split() for line in answered.stdout.splitlines() if line.strip()[:1].isdigit()]
    items = [row[1] for row in rows]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    assert len(set(items)) == 5
    assert not {"i00001", "i00002"} & set(items)
    assert "i99999" in answered.stdout
    assert rows == [line.split() for line in again.stdout.splitlines() if line.strip()[:1].isdigit()]
    back = tiny.run(checkout, "mmesid", "rollback", tiny.NAME)
    assert back.returncode == 1
    assert "no previous champion to roll back to" in back.stdout
