"""What `make` says and starts, with stand-ins for the commands that it calls."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

TOOLS = ("cat", "date", "make")
MLFLOW = """#!/bin/sh
echo "$*" > command
echo "$MLFLOW_BACKEND_STORE_URI" > store
echo "${MLFLOW_TRACKING_URI-unset}" > tracking
"""


@pytest.fixture
def project(tmp_path: Path, project_copy: Callable[[Path], Path]) -> Path:
    """A checkout with an environment that `make` takes for built; its commands are stand-ins."""
    root = project_copy(tmp_path / "project")
    commands = root / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name, text in (("mmesid", "#!/bin/sh\n"), ("mlflow", MLFLOW)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    (root / ".uv").mkdir()
    (root / ".uv" / ".stamp").touch()
    (root / ".venv" / ".stamp").write_text(f"{root}\n")
    return root


def make(root: Path, target: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    left_out = ("MLFLOW_TRACKING_URI", "MAKELEVEL", "MAKEFLAGS")  # a make inside a make says where it is
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    return subprocess.run(
        ["make", target], cwd=root, env={**inherited, **variables}, capture_output=True, text=True, check=False
    )


def test_a_checkout_is_fine(project: Path) -> None:
    assert make(project, "checkout").returncode == 0


def test_a_downloaded_zip_needs_git_init(project: Path) -> None:
    shutil.rmtree(project / ".git")
    done = make(project, "checkout", GIT_CEILING_DIRECTORIES=str(project.parent))
    assert done.returncode != 0
    assert done.stderr.startswith(f"{project} is no git repository")
    assert "`git init`" in done.stderr


def test_without_git_the_remedy_is_git(project: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in TOOLS:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    done = make(project, "checkout", PATH=str(tmp_path / "bin"))
    assert done.returncode != 0
    assert done.stderr.startswith("git is not on PATH")
    assert "git init" not in done.stderr


@pytest.mark.parametrize("language", ["C", "de_DE.UTF-8"])
def test_a_checkout_of_another_owner_is_what_git_calls_safe(project: Path, language: str) -> None:
    variables = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = make(project, "checkout", LANG=language, **variables)
    assert done.returncode != 0
    assert "dubious ownership" in done.stderr
    assert f"`git config --global --add safe.directory {project}`" in done.stderr
    assert "git init" not in done.stderr


def test_another_fault_of_git_is_told_as_git_tells_it(project: Path) -> None:
    (project / ".git" / "config").write_text("[core", encoding="utf-8")
    done = make(project, "checkout")
    assert done.returncode != 0
    assert "bad config line" in done.stderr
    assert "git init" not in done.stderr


def test_a_link_to_the_environment_of_another_checkout_is_not_followed(project: Path, tmp_path: Path) -> None:
    other = (project / ".venv").rename(tmp_path / "other")
    (other / "pyvenv.cfg").touch()
    (other / ".stamp").write_text("/another/checkout\n")
    (project / ".venv").symlink_to(other)
    (project / ".uv" / "bin").mkdir()
    (project / ".uv" / "bin" / "uv").write_text("#!/bin/sh\ntouch built\n")
    (project / ".uv" / "bin" / "uv").chmod(0o755)
    done = make(project, ".venv/.stamp")
    assert done.returncode != 0
    assert done.stderr.startswith(f".venv is a link to {other}")
    assert not (project / "built").exists()
    (other / ".stamp").write_text(f"{project}\n")  # a link to a larger disk
    assert make(project, ".venv/.stamp").returncode == 0


@pytest.mark.parametrize("uri", [None, "postgresql://me:secret@host:5432/mlflow"])
def test_no_process_list_shows_the_database_of_mlflows_pages(project: Path, uri: str | None) -> None:
    done = make(project, "ui", **({"MLFLOW_TRACKING_URI": uri} if uri else {}))
    assert done.returncode == 0, done.stderr
    assert "MLflow: http://127.0.0.1:5000" in done.stdout
    expected = uri or f"sqlite:///{project}/mlruns/mlflow.db"
    assert (project / "store").read_text(encoding="utf-8").strip() == expected
    assert (project / "tracking").read_text(encoding="utf-8").strip() == "unset", "a server is no client of another"
    assert expected not in (project / "command").read_text(encoding="utf-8")
    assert "secret" not in done.stdout + done.stderr


def test_a_server_shows_its_pages_itself(project: Path) -> None:
    done = make(project, "ui", MLFLOW_TRACKING_URI="https://me:secret@mlflow.example:5000/base")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "MLflow's pages are at https://mlflow.example:5000/base, which MLFLOW_TRACKING_URI names.\n"
    assert not (project / "command").exists()
