"""The doctor calls fine what it has tried, within seconds: programs, git, the store, its lock and DVC's remote."""

import time
from pathlib import Path

import pytest

from mmesid import host
from mmesid.commands import doctor, remote
from mmesid.commands.doctor import Finding
from mmesid.servers import buckets
from tests import faulty, s3


def program(folder: Path, name: str, script: str) -> Path:
    """A program of this name, and nothing else, in a folder that stands for PATH."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return folder


def test_a_driver_that_hangs_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SECONDS", 0.2)
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", "nvidia-smi", "exec /bin/sleep 60")))
    (found,) = doctor.check_gpu(tmp_path)
    assert (found.level, found.detail) == ("wrong", "nvidia-smi does not answer within 0.2 s")
    assert "MMESID_DEVICE=cpu" in found.remedy


def test_git_is_missed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.check_git(tmp_path) == [Finding("wrong", "git", "not installed", "install git: DVC needs it")]


def test_what_git_itself_advises_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "echo \"fatal: detected dubious ownership in repository at '/x'\" >&2\n"
        "printf '\\n\\tgit config --global --add safe.directory /x\\n' >&2\nexit 128"
    )
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", "git", script)))
    (found,) = doctor.check_git(tmp_path)
    assert found.detail == "fatal: detected dubious ownership in repository at '/x'"
    assert found.remedy == "git config --global --add safe.directory /x"


@pytest.mark.parametrize("uri", ["sqlite:////dev/null/a/x.db", "http://127.0.0.1:9"])
def test_a_store_that_cannot_be_used_is_wrong(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (found,) = doctor.check_tracking(tmp_path)
    assert (found.level, found.subject) == ("wrong", "tracking")
    assert found.detail.startswith("MLFLOW_TRACKING_URI")


def test_a_store_that_can_only_be_read_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert [found.level for found in doctor.check_tracking(tmp_path)] == ["fine"]
    monkeypatch.setattr(doctor.host, "unwritable", lambda path: "it is read-only")
    monkeypatch.setattr(doctor.store, "reach", lambda uri: None)
    (found,) = doctor.check_tracking(tmp_path)
    assert (found.level, found.detail.partition(" can ")[2]) == ("wrong", "be read, but not written (it is read-only)")


def test_a_lock_that_is_kept_is_told_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOCK_SECONDS", 0.1)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with host.locked(tmp_path / "mlruns" / ".lock"):
        found = doctor.check_tracking(tmp_path)
    assert [each.level for each in found] == ["fine", "wrong"]
    assert f"{tmp_path / 'mlruns' / '.lock'} is held by " in found[1].detail
    assert [each.level for each in doctor.check_tracking(tmp_path)] == ["fine"]


def of_remote(root: Path, url: str, *settings: str) -> Finding:
    """What the doctor says about a remote of this address."""
    (root / ".dvc").mkdir(exist_ok=True)
    lines = [
        "[core]",
        "    remote = far",
        "['remote \"far\"']",
        f"    url = {url}",
        *(f"    {line}" for line in settings),
    ]
    (root / ".dvc" / "config").write_text("\n".join(lines), encoding="utf-8")
    (found,) = doctor.check_dvc(root)
    return found


@pytest.mark.parametrize(
    ("url", "setting"),
    [
        ("ssh://me:secret@nowhere.invalid/a%20b", "port = 22"),
        ("https://127.0.0.1:9", "auth = basic"),
        ("s3://bucket", "configpath = /there"),
    ],
)
def test_a_remote_that_only_dvc_can_try_is_not_called_fine(tmp_path: Path, url: str, setting: str) -> None:
    found = of_remote(tmp_path, url, setting)
    assert (found.level, found.remedy) == ("warning", "`dvc status --cloud` tries it")
    assert found.detail.endswith(" is not tried")
    assert "secret" not in found.detail


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that even root cannot write to")
def test_a_folder_that_cannot_be_written_is_wrong(tmp_path: Path) -> None:
    assert of_remote(tmp_path, "/proc").detail == "far (/proc) cannot be written"
    (tmp_path / "store").mkdir()
    assert of_remote(tmp_path, "../store").level == "fine"
    assert not list((tmp_path / "store").iterdir())


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.pipeline
def test_a_bucket_is_read_before_it_is_called_fine(tmp_path: Path, keys: None) -> None:
    with s3.served() as address:
        assert of_remote(tmp_path, f"s3://{s3.BUCKET}/prefix", f"endpointurl = {address}").level == "fine"
        found = of_remote(tmp_path, "s3://nobody/prefix", f"endpointurl = {address}")
    assert found.level == "wrong"
    assert "cannot be read (NoSuchBucket" in found.detail
    refused = of_remote(tmp_path, "s3://nobody", f"endpointurl = http://{faulty.NOBODY}")
    assert "cannot be read (EndpointConnectionError" in refused.detail


def test_a_store_that_never_answers_is_given_seconds(
    tmp_path: Path, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "SECONDS", 0.3)
    with faulty.hanging("at", "http://{}")(tmp_path) as found:
        said = buckets.unreadable({"url": "s3://bucket/prefix", "endpointurl": found["at"]})
    assert said is not None
    assert said.startswith("cannot be read (ReadTimeoutError")


def test_a_name_that_nobody_looks_up_is_given_seconds(keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "SECONDS", -1.9)  # and two more
    monkeypatch.setattr(buckets, "_impatient", lambda: time.sleep(3))
    assert "does not answer within" in str(buckets.unreadable({"url": "s3://bucket"}))


def test_s3_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote.importlib.util, "find_spec", lambda name: None)
    assert "needs the package dvc-s3" in of_remote(tmp_path, "s3://bucket").detail
