"""DVC's repository, opened: what it refuses becomes one message of ours."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmesid.errors import PipelineError, first_line

REMEDIES = {  # by what DVC says
    "not a git repo": "; run `git init` there: DVC finds a project through git",
    "RWLock-file": "; `mmesid mend` removes that file",
}


@contextmanager
def opened(root: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Any]:
    """`dvc.repo.Repo` of a checkout.

    Args:
        root: the project's folder.
        settings: that hold this time only, as sections of `.dvc/config`.

    Raises:
        PipelineError: DVC cannot read the project, or another dvc holds its lock.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo(str(root), config=dict(settings or {})) as repo:
            repo.scm_context.quiet = True  # what to commit is said by whoever asks
            yield repo
    except LockError as error:
        text = first_line(error).rstrip(".")
        raise PipelineError(f"{root.absolute()}: another dvc works here ({text}); ask again when it is done") from error
    except DvcException as error:
        text = f"{error}" + (f": {error.__cause__}" if error.__cause__ else "")
        remedy = next((told for sign, told in REMEDIES.items() if sign in text), "")
        raise PipelineError(f"DVC cannot read the pipeline in {root.absolute()}: {text}{remedy}") from error
