"""What every test stands on: no tool calls home, nothing is downloaded, few threads; and copies of the project."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmesid import host
from mmesid.artifacts import packaged
from tests import tiny

ROOT = Path(__file__).parents[1]
QUIET = {
    **host.QUIET,
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MPLBACKEND": "agg",
    "TOKENIZERS_PARALLELISM": "false",
}
OUTSIDE = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MMESID_EXECUTION", "MMESID_DEVICE", "PREFECT_API_URL")

# Set before any test imports a package: most read their environment only then.
os.environ.update(QUIET)
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait by spinning take the core from the others
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # one of several processes; the first one's setting is inherited
for name in OUTSIDE:
    os.environ.pop(name, None)

# What is installed on a machine changes no test: only those that ask for real weights see them.
WEIGHTS = packaged.home()
os.environ[packaged.HOME] = str(ROOT / "tests" / "no-weights")


# The longest files first, lest one process wait for the other at the end. What stands between the two that need the
# trained world is about as long as its training: whoever runs the second finds it ready.
FIRST = ("test_pipeline.py", "test_finetune.py", "test_serve.py", "test_recovery.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


@pytest.fixture(scope="module", autouse=True)
def no_server_of_another_file() -> None:
    """MLflow writes the last tracking address it was given into the environment."""
    for name in OUTSIDE:
        os.environ.pop(name, None)


@pytest.fixture
def real_weights(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A function that gives where packaged weights of a name lie, and skips the test where they are not installed."""
    monkeypatch.setenv(packaged.HOME, str(WEIGHTS))

    def find(name: str) -> Path:
        path = packaged.find(name)
        if path is None:
            pytest.skip(f"{name} is not installed: `make weights` fetches it")
        return path

    return find


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, project_copy: Callable[[Path], Path]) -> tiny.Trained:
    """The tiny world, trained once: where several processes run tests, the others wait for the first."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    seconds = shared / "trained.json"
    with host.locked(shared / "trained.lock"):
        if not seconds.exists():
            took = tiny.repro(tiny.make(project_copy(shared / "trained")))
            seconds.write_text(json.dumps(took), encoding="utf-8")
    return tiny.Trained(shared / "trained", json.loads(seconds.read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def server() -> Iterator[None]:
    """One Prefect server for all tests that need it: starting it takes longer than they do."""
    from prefect.testing.utilities import prefect_test_harness

    import flows  # noqa: F401  its settings must stand before prefect is imported

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="session")
def project_copy() -> Callable[[Path], Path]:
    """A function that makes a folder a fresh checkout of this project, without any result."""
    return copy_project


def copy_project(folder: Path) -> Path:
    """The files that a clone would have, and the git repository that DVC asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("src", "flows", "conf", "sources/sample"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        ".gitignore",
        ".dvcignore",
        "Makefile",
        "dvc.yaml",
        "params.yaml",
        "prefect.yaml",
        "pyproject.toml",
        "reports/claims.json",
        "requirements.lock",
        "weights.lock",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache", "config.local"))
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder
