"""The stage in one process and in two: the same model, one record, one writer; a number that is none is refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from mmesid import config
from mmesid.stages import entry
from mmesid.stages import finetune as finetune_stage
from tests import tiny_world
from tests.tiny_world import DATASET, PROJECT

QUICK = {"epochs": 2, "targets_per_step": 64, "row_tokens": 64, "precision": "float32"}
NO_DROPOUT = dict.fromkeys(("adapter_dropout", "input_dropout", "layer_dropout", "output_dropout"), 0.0)


def finetune(root: Path, processes: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src"), "MMESID_PROCESSES": processes}
    command = [sys.executable, "-m", "mmesid.stages.finetune", DATASET]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=250)


@pytest.mark.pipeline
def test_two_processes_leave_what_one_does(tmp_path: Path) -> None:
    root = tmp_path / "one"
    root.mkdir()
    store = tiny_world.make(root)
    conf = yaml.safe_load((root / "conf" / f"{DATASET}.yaml").read_text())
    conf["finetune"] = {**QUICK, **NO_DROPOUT}
    conf["protocol"] = {"history_length": 8}
    (root / "conf" / f"{DATASET}.yaml").write_text(yaml.safe_dump(conf))
    resolved = config.resolved_path(DATASET, root)
    resolved.parent.mkdir(exist_ok=True)
    resolved.write_text(config.resolved_text(DATASET, root))
    shutil.rmtree(store.folder("finetune"))
    shutil.copytree(root, tmp_path / "two")
    for processes, folder in (("1", root), ("2", tmp_path / "two")):
        done = finetune(folder, processes)
        assert done.returncode == 0, done.stderr[-3000:]
        journals = list((folder / "mlruns" / "journal").rglob(f"{DATASET}.finetune*.jsonl*"))
        assert len(journals) == 1  # the first process's
    one, two = (folder / "data" / DATASET / "finetune" for folder in (root, tmp_path / "two"))
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in two.iterdir())
    for name in ("adapter.safetensors", "recommender.safetensors"):
        found, wanted = load_file(two / name), load_file(one / name)
        assert found.keys() == wanted.keys()
        assert all(torch.allclose(found[key].float(), wanted[key].float(), atol=1e-3) for key in wanted)
    losses = [[row["loss"] for row in json.loads((f / "curves.json").read_text()) if "loss" in row] for f in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize(
    "changed", ["recommender.json", "backbone.json", "recommender.safetensors", "backbone/model.safetensors"]
)
def test_a_run_goes_on_only_from_the_model_it_began_with(changed: str, tmp_path: Path) -> None:
    store = tiny_world.make(tmp_path)
    settings = config.load(DATASET, tmp_path)
    before = finetune_stage.fingerprint(settings, store)
    assert finetune_stage.fingerprint(settings, store) == before
    path = store.folder("init_codes") / changed
    path.write_bytes(path.read_bytes() + b" ")
    assert finetune_stage.fingerprint(settings, store) != before


@pytest.mark.parametrize("processes", ["0", "two", "-1", "", "²"])
def test_a_number_of_processes_that_is_none_is_refused(processes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMESID_PROCESSES", processes)
    with pytest.raises(SystemExit, match=r"MMESID_PROCESSES must be a number of processes, at least 1; it is '"):
        entry.main_spread(lambda config, store, log: pytest.fail("the stage ran"))
