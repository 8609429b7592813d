"""Every error that a person is meant to read, in one tree.

Each message says what was expected, what came, and which key or file to change. Stages and the command line print it
without a traceback and exit with status 1.
"""

import errno
import re
from collections.abc import Iterator

LINE_LENGTH = 300  # characters of another package's error that ours repeat


class MmesidError(Exception):
    """Base of all errors that a person can mend."""


class ConfigError(MmesidError):
    """A key or value in params.yaml or conf/<dataset>.yaml is wrong."""


class DataError(MmesidError):
    """A source cannot be read: a folder, file or column is missing, or a file is not what its name says."""


class ValidationFailed(MmesidError):
    """The catalogue was read, but an expectation of the `validate` stage does not hold."""


class WeightsError(MmesidError):
    """Pretrained weights or a backbone are missing, incomplete or of another shape."""


class ArtifactError(MmesidError):
    """An earlier stage's output is missing or damaged."""


class RegistryError(MmesidError):
    """The model registry holds no such model, version or alias, or refuses the change."""


class RequestError(MmesidError):
    """A recommendation was asked for that has no answer: unknown items, an empty history, k out of range."""


class PipelineError(MmesidError):
    """DVC cannot answer: `dvc.yaml` or `dvc.lock` is damaged, or another dvc works in this checkout."""


class TrackingError(MmesidError):
    """MLflow does not answer, or holds no such run."""


class RemoteError(MmesidError):
    """A place for DVC's results cannot be reached or written."""


class ServiceError(MmesidError):
    """A server cannot be started, or has ended: a port is taken, a database is out of reach, access is not guarded."""


def first_line(problem: object) -> str:
    """The first line of an error or a text, for people: not too long, and without secrets.

    An error that says nothing is named by its type.
    """
    line = str(problem).strip().partition("\n")[0].rstrip()
    if not line and isinstance(problem, BaseException):
        return type(problem).__name__
    return without_secret(line)[:LINE_LENGTH]


def without_secret(text: str) -> str:
    """A text for people: addresses in it without a user's name and password."""
    return re.sub(r"://[^/@\s]*@", "://", text)


def unloadable(key: str, name: str, expected: str, error: BaseException) -> WeightsError:
    """Why a pretrained model does not load, and what to do about it, in one sentence.

    The cause may lie behind other errors that were raised on its way; of each package's errors only the names are known
    here, so that nothing has to be imported.

    Args:
        key: of the parameter that names the model.
        name: hub id or folder.
        expected: what the parameter takes.
        error: that its loading raised.
    """
    causes = list(_causes(error))
    kinds = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    if any(isinstance(cause, OSError) and cause.errno in _FULL for cause in causes):
        return WeightsError(f"{key}: the disk is full, {name} does not fit; free some, or HF_HOME names another cache")
    for known, text in _REASONS:
        if not kinds.isdisjoint(known):
            return WeightsError(f"{key}: {text.format(name=name)}")
    return WeightsError(f"{key}: expected {expected}; {name!r} does not load ({first_line(error)})")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


_FULL = (errno.ENOSPC, errno.EDQUOT)
_REASONS = (  # names of errors -> what a person can do; the first that fits
    (
        {"GatedRepoError"},
        "{name} is gated: accept its terms at https://huggingface.co/{name}, then `hf auth login`, or put a token into "
        "HF_TOKEN",
    ),
    (
        {"RevisionNotFoundError"},
        "{name} is on the hub, but not the revision that is named beside it",
    ),
    (
        {"RepositoryNotFoundError"},
        "the hub knows no {name}, or shows it to its owners alone (`hf auth login`, or a token in HF_TOKEN)",
    ),
    (
        {"OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectError", "ConnectionError", "TimeoutException"},
        "{name} does not lie in this machine's cache (HF_HOME), and the hub is out of reach or HF_HUB_OFFLINE forbids "
        "it: `hf download {name}` where there is a network, HF_ENDPOINT for a mirror, or name a folder",
    ),
    (
        {"SafetensorError", "UnpicklingError", "EOFError"},
        "a file of weights of {name} is cut short or damaged; fetch it again (`hf download {name} --force-download`)",
    ),
)
