"""A lock that a kill cut short is put aside; a whole one is left alone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.lock import make_lock
from dvc.rwlock import RWLockFileCorruptedError

from mmesid.commands import doctor
from mmesid.errors import PipelineError
from mmesid.pipeline import mend as module
from mmesid.pipeline.mend import ASIDE, RWLOCK, lock_fault, mend, rwlock_fault
from mmesid.pipeline.repo import opened

WHOLE = """schema: '2.0'
stages:
  ingest@sample:
    cmd: python -m mmesid.stages.ingest sample
    outs:
    - path: data/sample/ingest
      hash: md5
      md5: d41d8cd98f00b204e9800998ecf8427e.dir
"""


@pytest.mark.parametrize("text", [WHOLE, "schema: '2.0'\n"])
def test_a_whole_lock_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.lock").write_text(text, encoding="utf-8")
    assert mend(tmp_path) == []
    assert (tmp_path / "dvc.lock").read_text(encoding="utf-8") == text


def test_no_lock_is_no_fault(tmp_path: Path) -> None:
    assert mend(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sche",
        "schema: '2.0'\nstages:",
        "schema: '2.0'\nstages:\n  ingest@sam",
        "schema: '2.0'\nstages:\n  a:\n    o",
        "schema: '2.0'\nstages:\n  a:\n    cmd:",
        "schema: '2.0'\nstages:\n  a:\n    cmd: b\n    outs:\n    -",
        "schema: '2.0'\nstages:\n  a:\n    cmd: b\n    outs:\n    - path:",
        "schema: '2.0'\nstages:\n  a:\n    cmd: b\n    outs:\n    - path: c\n      size:",
    ],
)
def test_a_lock_cut_short_is_put_aside(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.lock").write_text(text, encoding="utf-8")
    assert mend(tmp_path)[0].startswith("dvc.lock is ")
    assert not (tmp_path / "dvc.lock").exists()
    assert (tmp_path / ASIDE).read_text(encoding="utf-8") == text
    assert lock_fault(tmp_path) is None


def test_a_lock_that_a_dvc_is_writing_is_left_to_it(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").touch()
    guard = tmp_path / ".dvc" / "tmp" / "lock"
    guard.parent.mkdir(parents=True)
    with make_lock(str(guard)):
        assert mend(tmp_path) == []
    assert (tmp_path / "dvc.lock").exists()
    assert len(mend(tmp_path)) == 1


def git(root: Path, *arguments: str) -> int:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, check=False).returncode


def test_a_merge_conflict_is_for_a_person_to_resolve(tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    git(tmp_path, "init", "--quiet", "--initial-branch", "mine")
    for branch, state in (("mine", "1"), ("theirs", "2"), ("mine", "3")):
        git(tmp_path, "checkout", "--quiet", *(["-b"] if branch == "theirs" else []), branch)
        path.write_text(WHOLE.replace("d41d", f"{state}41d"), encoding="utf-8")
        git(tmp_path, "add", "dvc.lock")
        assert git(tmp_path, "commit", "--quiet", "--message", state) == 0
    assert git(tmp_path, "merge", "theirs") != 0
    conflict = path.read_text(encoding="utf-8")
    assert "<<<<<<<" in conflict
    with pytest.raises(PipelineError, match=r"^dvc\.lock holds a merge conflict.*`git checkout HEAD dvc\.lock`"):
        mend(tmp_path)
    assert path.read_text(encoding="utf-8") == conflict
    assert not (tmp_path / ASIDE).exists()
    assert git(tmp_path, "checkout", "HEAD", "dvc.lock") == 0, "the remedy works"
    assert mend(tmp_path) == []


def rwlock(root: Path, text: str) -> Path:
    path = root / RWLOCK
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", ["", '{"read": {"/a": [{"pid": 1, "cm'])
def test_a_record_of_readers_that_a_full_disk_cut_short_is_removed(tmp_path: Path, text: str) -> None:
    path = rwlock(tmp_path, text)
    assert rwlock_fault(tmp_path) == "is cut short"
    (told,) = mend(tmp_path)
    assert told.startswith(".dvc/tmp/rwlock was cut short")
    assert not path.exists()
    assert mend(tmp_path) == []


def test_a_whole_record_of_readers_is_left_alone(tmp_path: Path) -> None:
    path = rwlock(tmp_path, '{"read": {}, "write": {}}')
    assert mend(tmp_path) == []
    assert path.exists()


def test_a_record_that_a_dvc_is_writing_is_left_to_it(tmp_path: Path) -> None:
    path = rwlock(tmp_path, "")
    with make_lock(str(path.with_name("rwlock.lock")), tmp_dir=str(path.parent)):
        assert mend(tmp_path) == []
    assert path.exists()


def entry(root: Path, name: str, cache: str = ".dvc/cache", key: str = "abcd") -> Path:
    folder = root / cache / "runs" / "ab" / key
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("cmd: python -m mmesid.stages.ingest sample\ndeps:\n- path: src\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(("config", "cache"), [("", ".dvc/cache"), ("[cache]\n    dir = ../shared\n", "shared")])
def test_an_entry_of_the_run_cache_that_a_kill_left_unfinished_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, cache: str
) -> None:
    monkeypatch.setattr(module, "WRITING", 0.01)
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(config, encoding="utf-8")
    whole, cut = entry(tmp_path, "ef01", cache), entry(tmp_path, ".Xy-z_0.tmp", cache)
    alone = entry(tmp_path, ".Xy-z_1.tmp", cache, "abce")
    empty = whole.parent.with_name("abcf")
    empty.mkdir()
    (told,) = mend(tmp_path)
    assert told == "DVC's run cache: entries that a kill left unfinished are removed (3)"
    assert (whole.exists(), cut.exists()) == (True, False)
    assert not alone.parent.exists()
    assert not empty.exists()
    assert mend(tmp_path) == []


def test_an_entry_that_another_dvc_finishes_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = entry(tmp_path, ".Xy-z_0.tmp")
    monkeypatch.setattr(module.time, "sleep", lambda _: cut.rename(cut.with_name("ef01")))
    assert mend(tmp_path) == []
    assert cut.with_name("ef01").exists()


@pytest.mark.parametrize("leaves", [".Xy-z_0.tmp", None])
def test_dvc_restores_a_stage_where_a_kill_left_its_run_cache_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: str | None
) -> None:
    """The fault is DVC's: the day that it is mended there, this test says so, and `mend` can be shorter."""
    monkeypatch.setattr(module, "WRITING", 0.01)
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    git(tmp_path, "init", "--quiet")
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: echo 1 > a, deps: [b], outs: [a]}}", encoding="utf-8")
    (tmp_path / "b").touch()

    def dvc(*arguments: str) -> int:
        return subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=tmp_path, check=False).returncode

    assert dvc("init", "--quiet") == dvc("repro") == 0
    (whole,) = (tmp_path / ".dvc" / "cache" / "runs").glob("*/*/*")
    if leaves:
        whole.with_name(leaves).write_text("cmd: echo 1 > a\n", encoding="utf-8")
    whole.unlink()
    (tmp_path / "dvc.lock").unlink()
    assert dvc("repro") != 0
    assert len(mend(tmp_path)) == 1
    assert dvc("repro") == 0


def test_what_refuses_and_what_examines_name_the_command(project_copy: Callable[[Path], Path], tmp_path: Path) -> None:
    root = project_copy(tmp_path / "project")
    path = root / RWLOCK
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"read": {"/a', encoding="utf-8")
    (found,) = doctor.check_dvc(root)
    assert (found.level, found.detail) == ("wrong", ".dvc/tmp/rwlock is cut short")
    with pytest.raises(PipelineError, match="`mmesid mend` removes that file"), opened(root):
        raise RWLockFileCorruptedError(str(path))
    path.unlink()
    entry(root, ".Xy-z_0.tmp")
    (found,) = doctor.check_dvc(root)
    assert (found.level, found.remedy) == ("wrong", "`mmesid mend` removes them")
