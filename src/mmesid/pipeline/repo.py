"""DVC's repository, opened: what it refuses becomes one message of ours."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmesid import host
from mmesid.config.loading import load_yaml
from mmesid.errors import PipelineError, first_line
from mmesid.pipeline.mend import GUARD, check_conflict

REMEDIES = {  # by what DVC says
    "not a git repo": "; run `git init` there: DVC finds a project through git",
    "config file error": "; correct .dvc/config or .dvc/config.local",
    "RWLock-file": "; `mmesid mend` removes that file",
}


@contextmanager
def opened(root: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Any]:
    """`dvc.repo.Repo` of a checkout.

    Args:
        root: the project's folder.
        settings: that hold this time only, as sections of `.dvc/config`.

    Raises:
        ConfigError: a file that people write is no YAML, or holds a merge conflict.
        PipelineError: DVC cannot read the project, or another dvc holds its lock.
    """
    check_texts(root)
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo(str(root), config=dict(settings or {})) as repo:
            repo.scm_context.quiet = True  # what to commit is said by whoever asks
            yield repo
    except LockError as error:
        host.is_free(root / GUARD)  # where nobody can hold a lock, it says so
        text = first_line(error).rstrip(".")
        raise PipelineError(f"{root.absolute()}: another dvc works here ({text}); ask again when it is done") from error
    except DvcException as error:
        text = " ".join((f"{error}" + (f": {error.__cause__}" if error.__cause__ else "")).split())
        remedy = next((told for sign, told in REMEDIES.items() if sign in text), "")
        raise PipelineError(f"DVC cannot read the pipeline in {root.absolute()}: {text}{remedy}") from error


def check_texts(root: Path) -> None:
    """Read what people write and DVC reads, which tells its faults in several lines; missing files are left to DVC.

    Raises:
        ConfigError: one is no YAML, holds a merge conflict, or a key twice; likewise of `sources/*.dvc`.
        PipelineError: `dvc.lock` holds a merge conflict.
    """
    for path in (root / "params.yaml", root / "dvc.yaml", *sorted((root / "conf").glob("*.yaml"))):
        with suppress(FileNotFoundError):
            load_yaml(path)
    check_sources(root)
    check_conflict(root)


def check_sources(root: Path) -> None:
    """Raises ConfigError where a source's file of DVC is no YAML, or holds the conflict of two catalogues."""
    for path in sorted((root / "sources").glob("*.dvc")):
        if path.is_file():
            load_yaml(path)
