"""Every error that a person is meant to read, in one tree.

Each message says what was expected, what came, and which key or file to change. Stages and the command line print it
without a traceback and exit with status 1. What other packages raise is put into words by `faults`.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

LOGIN = re.compile(r"://(?:[^/\s]*|[^/@:\s]*:(?!\d+/)\S*)@")  # drivers take a password that holds @ or /
SECRETS = re.compile(r"([?&][\w-]*(?:password|passwd|pwd|secret|token|sig|signature)=)[^&\s]*", re.IGNORECASE)
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


class TrainingError(MmesidError):
    """A training has diverged: its loss is no number any more."""


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


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it stems from, the outermost first; a ring of them is walked once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def first_line(problem: object) -> str:
    """The first line of an error or a text, for people: not too long, and without secrets.

    An error that says nothing is named by its type.
    """
    line = str(problem).strip().partition("\n")[0].rstrip()
    if not line and isinstance(problem, BaseException):
        return type(problem).__name__
    return without_secret(line)[:LINE_LENGTH]


def driver_line(problem: Exception, url: str) -> str:
    """The first line of a database's driver, without the password of the address, should it ever be in there."""
    text, password = first_line(problem), urlsplit(url).password
    return text.replace(unquote(password), "***").replace(password, "***") if password else text


def without_secret(text: str) -> str:
    """A text for people: addresses in it without a user's name and password, wherever an address holds them."""
    return SECRETS.sub(r"\1***", LOGIN.sub("://", text))
