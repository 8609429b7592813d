"""Pretrained models that a dataset needs: how large they are, what of them is here, and what keeps them away."""

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmesid.artifacts import hub, packaged
from mmesid.config import Config
from mmesid.errors import WeightsError

WEIGHTS = ".safetensors"
BYTES = {"float32": 4.0, "bfloat16": 2.0, "nf4": 0.5}


class Use(NamedTuple):
    """A model, where a conf names it, and the precision in which it is held."""

    key: str
    name: str
    revision: str | None
    dtype: str


class Model(NamedTuple):
    """What is known of one."""

    use: Use
    bytes: int | None  # of its weights; None: unknown
    missing: int | None  # bytes of them that are not here
    parameters: int | None
    fault: str = ""  # why it cannot be had

    @property
    def memory(self) -> float | None:
        """Bytes that its weights take, at least; None: unknown."""
        return None if self.parameters is None else self.parameters * BYTES.get(self.use.dtype, 2.0)


def uses(settings: Config) -> Iterator[Use]:
    """The models that a dataset's parameters name, packaged ones included."""
    content, start = settings.encode_content, settings.init_codes
    text, vision, paper = content.sentence_transformers, content.transformers, content.llm2clip
    if content.text == "sentence_transformers":
        yield Use("encode_content.sentence_transformers.model", text.model, text.revision, text.dtype)
    if content.text == "llm2clip":
        key = "encode_content.llm2clip.language_model"
        yield Use(key, paper.language_model, paper.language_model_revision, paper.dtype)
    if "llm2clip" in (content.text, content.image):
        yield Use("encode_content.llm2clip.clip", paper.clip, paper.clip_revision, paper.dtype)
    if content.image == "transformers":
        yield Use("encode_content.transformers.model", vision.model, vision.revision, vision.dtype)
    if start.backbone != "embedded":
        yield Use("init_codes.backbone", start.backbone, start.revision, start.dtype)


def look(use: Use) -> Model:
    """Ask this machine, then the hub; nothing is fetched."""
    if use.name in packaged.PACKAGED:
        megabytes, here = packaged.PACKAGED[use.name].megabytes * 10**6, packaged.find(use.name) is not None
        fault = "" if here else f"{use.key}: {use.name} is not installed; `mmesid weights {use.name}` fetches it"
        return Model(use, megabytes, 0 if here else megabytes, None, fault)
    if use.name.endswith(".gguf") or Path(use.name).is_dir():
        return _local(use)
    return _of_hub(use)


def _local(use: Use) -> Model:
    place = Path(use.name)
    files = [place] if place.is_file() else sorted(place.glob(f"*{WEIGHTS}"))
    if not files:
        return Model(use, None, None, None, f"{use.key}: {use.name} holds no weights")
    size = sum(path.stat().st_size for path in files)
    return Model(use, size, 0, sum(map(_parameters, files)) if place.is_dir() else None)


def _parameters(path: Path) -> int:
    """How many numbers a file of weights holds, by its header."""
    with path.open("rb") as file:
        start = file.read(8)
        header = json.loads(file.read(struct.unpack("<Q", start)[0])) if len(start) == 8 else {}
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def _of_hub(use: Use) -> Model:
    """A hub id. One that lies in the cache whole needs no hub."""
    from huggingface_hub import HfApi, constants

    held = _cached(use)
    if held and constants.HF_HUB_OFFLINE:
        return _local(use._replace(name=str(held)))._replace(use=use)
    api = HfApi()
    try:
        told: Any = api.model_info(use.name, revision=use.revision, files_metadata=True, timeout=20)
        if told.gated and not held:
            api.auth_check(use.name)
    except Exception as error:  # of the hub's many, one sentence
        if held:
            return _local(use._replace(name=str(held)))._replace(use=use)
        fault = hub.unloadable(use.key, use.name, "a model of the hub or a folder", error)
        return Model(use, None, None, None, str(fault))
    weights = [file for file in told.siblings or [] if file.rfilename.endswith(WEIGHTS)]
    here = {path.name for path in held.rglob(f"*{WEIGHTS}")} if held else set()
    missing = sum(file.size or 0 for file in weights if Path(file.rfilename).name not in here)
    total = sum(file.size or 0 for file in weights)
    counted = told.safetensors.total if told.safetensors else None
    return Model(use, total or None, missing if total else None, counted)


def _cached(use: Use) -> Path | None:
    """The snapshot in the hub's cache, None where none with weights is there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(use.name, "config.json", revision=use.revision)
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    try:
        hub.check_whole(folder)
    except WeightsError:
        return None
    return folder if any(folder.glob(f"*{WEIGHTS}")) else None
