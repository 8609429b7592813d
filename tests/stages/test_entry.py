"""What an entry reads: the parameters that `configure` wrote, and nothing of `conf/`."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from mmesid import tracking
from mmesid.config import Config
from mmesid.stages import configure, entry
from tests import tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two datasets without results; the working directory."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**params, "datasets": ["a", "b"]}), encoding="utf-8")
    (tmp_path / "conf").mkdir()
    for name in "ab":
        (tmp_path / "conf" / f"{name}.yaml").write_text("# nothing differs\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tracking, "send_pending", lambda: None)
    return tmp_path


def datasets_of_all(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a stage over all datasets is given."""
    found: list[str] = []

    def run(configs: Sequence[Config]) -> None:
        found.extend(config.dataset for config in configs)

    monkeypatch.setattr(sys, "argv", ["report.py"])
    entry.main_all(run)
    return found


def test_configure_writes_and_a_mistake_leaves_one_message(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["configure.py", "a"])
    entry.main_untracked(configure.run)
    assert (project / "data" / "a" / "configure" / "params.yaml").exists()
    (project / "conf" / "a.yaml").write_text("finetune: {epoch: 1}\n", encoding="utf-8")
    with pytest.raises(
        SystemExit, match=r"^configure@a: params\.yaml or conf/a\.yaml:\n  finetune\.epoch: no such key"
    ):
        entry.main_untracked(configure.run)


def test_a_stage_before_configure_says_what_to_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["prepare.py", "a"])
    with pytest.raises(SystemExit, match=r"^prepare@a: data/a/configure/params\.yaml does not exist; `dvc repro conf"):
        entry.main(lambda config, store, log: pytest.fail("the stage ran"))


def test_a_dataset_that_has_not_begun_is_left_out_and_one_that_lost_its_parameters_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.configure(project, "a")
    assert datasets_of_all(monkeypatch) == ["a"]
    (project / "data" / "b" / "evaluate").mkdir(parents=True)
    with pytest.raises(SystemExit, match=r"^report: data/b/configure/params\.yaml does not exist"):
        datasets_of_all(monkeypatch)
