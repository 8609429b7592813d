"""Where a pretrained backbone's files lie, whether they are still the same, and what is wrong with those that fail."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mmesid.artifacts import hub, packaged
from mmesid.errors import MmesidError, WeightsError

KEY = "init_codes.backbone"
EXPECTED = (
    f"`embedded`, {', '.join(packaged.LANGUAGE_MODELS)}, a Hugging Face id, a folder with config.json, weights and "
    "tokenizer, or a .gguf file"
)
_DECIDING = ("config.json", "*.safetensors", "*.bin", "*.py")  # files of a folder that make the model what it is
_REASONS = (  # what another package says in many lines -> the reason in one
    (
        r"backend tokenizer|tiktoken|sentencepiece",
        "its tokenizer cannot be read: put tokenizer.json beside the weights, a tokenizer.model alone is not enough",
    ),
    (
        r"ignore_mismatched_sizes",
        "its weights are of other sizes than its config.json says: take both from one checkpoint",
    ),
)


class Pinned(NamedTuple):
    """All that fixes a backbone's weights; it is written as JSON instead of them."""

    name: str  # hub id, folder, .gguf file, or a name of artifacts.packaged
    revision: str | None
    dtype: str
    trust_remote_code: bool
    layers: int | None  # the first so many; None: all
    weights: str | None  # pretrained, or random: drawn anew, and kept with the recommender
    state: str | None = None  # of a folder's files, which no revision fixes; None: not known


def is_file(name: str) -> bool:
    """Whether a name stands for one file of weights."""
    return name in packaged.LANGUAGE_MODELS or name.lower().endswith(".gguf")


def state_of(name: str) -> str | None:
    """A digest of what a folder's model is made of, wherever the folder lies; None for what is no folder."""
    folder = Path(name)
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _DECIDING for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def check_unchanged(pinned: Pinned) -> None:
    """Refuse a folder that holds another model than the recommender was built around.

    Raises:
        WeightsError: its files have changed; one that is not there is left to who loads it.
    """
    if pinned.state is not None and (now := state_of(pinned.name)) is not None and now != pinned.state:
        raise WeightsError(
            f"{KEY}: config.json or weights in {pinned.name} have changed since init_codes; put the former files back, "
            "or run that stage anew (`dvc repro --force init_codes@DATASET`)"
        )


def place(pinned: Pinned) -> dict[str, Any]:
    """What `from_pretrained` takes: a file in a folder, or a folder or hub id with its revision.

    Raises:
        WeightsError: a file is absent or cut short.
    """
    if not is_file(pinned.name):
        hub.check_whole(Path(pinned.name))
        options = {"revision": pinned.revision, "trust_remote_code": pinned.trust_remote_code}
        return {"pretrained_model_name_or_path": pinned.name, **options}
    file = packaged.locate(pinned.name, KEY) if pinned.name in packaged.LANGUAGE_MODELS else Path(pinned.name)
    if not file.is_file():
        raise WeightsError(f"{KEY}: there is no file {file}")
    packaged.use_reader(pinned.name, KEY)
    hub.check_whole_gguf(file)
    return {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name, "local_files_only": True}


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Whatever a library raises over a model's files, as one sentence; a memory that is full is another matter.

    Its report of weights that are not used is left out: a decoder without its head never uses all of them.

    Raises:
        WeightsError: a library raised.
    """
    from transformers.utils import logging

    said = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    except (MmesidError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise hub.unloadable(KEY, name, EXPECTED, _plain(error)) from None
    finally:
        logging.set_verbosity(said)


def _plain(error: Exception) -> Exception:
    """The same with its reason in the first line."""
    reason = re.sub(r":\s*\n\s*(?:- )?", ": ", str(error).strip(), count=1)
    for pattern, known in _REASONS:
        if re.search(pattern, str(error), re.IGNORECASE):
            reason = known
    plain = ValueError(reason or type(error).__name__)
    plain.__cause__ = error
    return plain
