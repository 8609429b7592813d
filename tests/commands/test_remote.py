"""Where results go: what is written down, what is refused, and that another clone then has nothing to run."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmesid.commands import cli, doctor, plan, remote
from mmesid.errors import ConfigError, RemoteError
from mmesid.pipeline import graph
from tests import faulty, s3, tiny

DVC_YAML = """
stages:
  one: {cmd: cp source one, deps: [source], outs: [one]}
  two: {cmd: mkdir two && cp one two/file, deps: [one], outs: [two]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What DVC takes for a project: a git repository with an empty `.dvc/config`, and a pipeline of two stages."""
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n", encoding="utf-8")
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n", encoding="utf-8")
    (root / ".gitignore").write_text("/one\n/two\n", encoding="utf-8")
    (root / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    (root / "params.yaml").touch()
    (root / "source").write_text("content", encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    return root


def config_of(root: Path) -> str:
    return (root / ".dvc" / "config").read_text(encoding="utf-8")


def test_a_missing_folder_is_made_and_written_down_for_every_clone(project: Path, tmp_path: Path) -> None:
    store = tmp_path / "far" / "store"
    found = remote.use(str(store), project)
    assert (found.changed, found.created, found.before) == (True, True, "")
    assert list(store.iterdir()) == []
    assert doctor.check_dvc(project) == [doctor.Finding("fine", "dvc remote", f"results ({store})")]
    assert "analytics = false" in config_of(project)
    assert "dvc push" in remote.describe(found)
    assert "dvc pull" in remote.describe(found)


def test_doing_it_twice_changes_nothing(project: Path, tmp_path: Path) -> None:
    remote.use(str(tmp_path / "store"), project)
    before = config_of(project)
    again = remote.use(f"{tmp_path}/./store/", project)
    assert (again.changed, again.created) == (False, False)
    assert "already" in remote.describe(again)
    assert config_of(project) == before


def test_another_place_takes_over_and_the_old_one_is_named(project: Path, tmp_path: Path) -> None:
    remote.use(str(tmp_path / "old"), project)
    found = remote.use(str(tmp_path / "new"), project)
    assert found.before == str(tmp_path / "old")
    assert doctor.check_dvc(project)[0].detail == f"results ({tmp_path / 'new'})"


def test_a_remote_of_another_name_is_used_under_that_name(project: Path, tmp_path: Path) -> None:
    text = (
        f"    remote = other\n['remote \"other\"']\n    url = /srv/x\n['remote \"mine\"']\n    url = {tmp_path}/store\n"
    )
    (project / ".dvc" / "config").write_text(config_of(project) + text, encoding="utf-8")
    assert remote.use(str(tmp_path / "store"), project).name == "mine"
    assert doctor.check_dvc(project)[0].detail == f"mine ({tmp_path / 'store'})"
    assert "url = /srv/x" in config_of(project)


def test_a_private_default_that_overrules_it_is_named(project: Path, tmp_path: Path) -> None:
    local = "[core]\n    remote = mine\n['remote \"mine\"']\n    url = /srv/mine\n"
    (project / ".dvc" / "config.local").write_text(local, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.local makes mine .*overrules"):
        remote.use(str(tmp_path / "store"), project)


@pytest.mark.parametrize(
    ("place", "endpoint", "message"),
    [
        ("", None, "must be outside the project"),
        ("data/store", None, "'data/store' must be outside the project"),
        ("/there/store #1", None, "has a # in its name"),
        ("gs://bucket/x", None, "expected a folder or s3://bucket/prefix"),
        ("/srv/store", "http://127.0.0.1:9000", "--endpoint-url belongs to s3"),
        ("s3://", None, "expected s3://bucket/prefix"),
        ("s3:///prefix", None, "expected s3://bucket/prefix"),
        ("s3://key:secret@bucket/x", None, "AWS_ACCESS_KEY_ID"),
        ("s3://bucket/x", "https://key:secret@host", "AWS_ACCESS_KEY_ID"),
        ("s3://bucket/x", "127.0.0.1:9000", "expected http://host:port"),
    ],
)
def test_what_is_no_place_is_refused_and_nothing_written(
    project: Path, monkeypatch: pytest.MonkeyPatch, place: str, endpoint: str | None, message: str
) -> None:
    before = config_of(project)
    monkeypatch.chdir(project)
    with pytest.raises(ConfigError, match=message) as error:
        remote.use(place, project, endpoint)
    assert "secret" not in str(error.value)
    assert config_of(project) == before


def test_a_file_is_no_folder(project: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file: name a folder"):
        remote.use(str(tmp_path / "file"), project)
    with pytest.raises(RemoteError, match="cannot be written"):
        remote.use(str(tmp_path / "file" / "below"), project)


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="needs a folder that even root cannot write to")
@pytest.mark.parametrize("place", ["/sys", "/sys/store"])
def test_a_folder_that_cannot_be_written_is_one_message(project: Path, place: str) -> None:
    with pytest.raises(RemoteError, match=r"^/sys\S* cannot be written \(.+\): give yourself write access"):
        remote.use(place, project)
    assert "remote" not in config_of(project)


def test_s3_without_its_package_says_what_to_install(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RemoteError, match=r"dvc-s3, which is not installed: .*'dvc-s3>=3'"):
        remote.use("s3://bucket/prefix", project)


def push_and_clone(project: Path, place: Path) -> Path:
    """Run the pipeline, push, and clone with git: the results stay behind."""
    for command in (["dvc", "repro"], ["dvc", "push"], ["git", "add", "."], ["git", *COMMIT]):
        done = tiny.run(project, *command)
        assert done.returncode == 0, done.stdout
    assert tiny.run(project, "git", "clone", "--quiet", str(project), str(place)).returncode == 0
    return place


COMMIT = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "results"]


def has_nothing_to_run(clone: Path) -> bool:
    pulled = tiny.run(clone, "dvc", "pull")
    assert pulled.returncode == 0, pulled.stdout
    assert (clone / "two" / "file").read_text(encoding="utf-8") == "content"
    done = tiny.run(clone, "dvc", "repro", "--dry")
    assert "Running stage" not in done.stdout
    return all(not stage.changes for stage in graph.read(clone)) and not plan.plan(None, clone).work


@pytest.mark.pipeline
def test_another_clone_pulls_what_one_has_pushed_and_runs_nothing(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    said = CliRunner().invoke(cli.app, ["remote", str(tmp_path / "store")])
    assert said.exit_code == 0, said.output
    clone = push_and_clone(project, tmp_path / "clone")
    assert not (clone / "two").exists()
    assert len(plan.plan(None, clone).work) == 2
    assert has_nothing_to_run(clone)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 service, whose keys stand in the environment."""
    for name, value in s3.KEYS.items():
        monkeypatch.setenv(name, value)
    with s3.served() as address:
        yield address


@pytest.mark.pipeline
def test_an_s3_prefix_carries_results_as_well(
    project: Path, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert remote.use("s3://results/prefix/", project, store).changed
    assert not remote.use("s3://results/prefix", project, store).changed
    assert s3.KEYS["AWS_SECRET_ACCESS_KEY"] not in config_of(project)
    assert has_nothing_to_run(push_and_clone(project, tmp_path / "clone"))


@pytest.mark.pipeline
def test_an_s3_store_that_never_answers_is_given_seconds(
    project: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SECONDS", 1)
    started = time.monotonic()
    with faulty.hanging("at", "http://{}")(project) as found, pytest.raises(RemoteError, match=r"Time-?[oO]ut"):
        remote.use("s3://bucket/x", project, found["at"])
    assert time.monotonic() - started < 15
    assert "s3://" not in config_of(project)


@pytest.mark.pipeline
@pytest.mark.parametrize(("bucket", "port"), [("nobody", ""), ("results", ":9")])
def test_an_s3_store_that_cannot_be_written_is_one_message(project: Path, store: str, bucket: str, port: str) -> None:
    address = f"http://127.0.0.1{port}" if port else store
    with pytest.raises(RemoteError, match=f"s3://{bucket}/x at {address} cannot be written"):
        remote.use(f"s3://{bucket}/x", project, address)
    assert "s3://" not in config_of(project)
