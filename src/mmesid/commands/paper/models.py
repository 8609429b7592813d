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
OPEN_CLIP = "encode_content.open_clip.model"
BYTES = {"float32": 4.0, "bfloat16": 2.0, "nf4": 0.5}


class Use(NamedTuple):
    """A model, where a conf names it, and the precision in which it is held."""

    key: str
    name: str
    revision: str | None  # of open_clip: `pretrained`, its tag or a file
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
    ways = (content.text, content.image)
    text, vision, paper = content.sentence_transformers, content.transformers, content.llm2clip
    if content.text == "sentence_transformers":
        yield Use("encode_content.sentence_transformers.model", text.model, text.revision, text.dtype)
    if content.text == "llm2clip":
        key = "encode_content.llm2clip.language_model"
        yield Use(key, paper.language_model, paper.language_model_revision, paper.dtype)
    if "llm2clip" in ways:
        yield Use("encode_content.llm2clip.clip", paper.clip, paper.clip_revision, paper.dtype)
    if "open_clip" in ways and content.open_clip.model != "embedded":
        yield Use(OPEN_CLIP, content.open_clip.model, content.open_clip.pretrained, "float32")
    if content.image == "transformers":
        yield Use("encode_content.transformers.model", vision.model, vision.revision, vision.dtype)
    if start.backbone != "embedded":
        yield Use("init_codes.backbone", start.backbone, start.revision, start.dtype)


def look(use: Use) -> Model:
    """Ask this machine, then the hub; nothing is fetched."""
    if use.name in packaged.PACKAGED:
        return _packaged(use)
    if use.key == OPEN_CLIP:
        return _of_open_clip(use)
    if use.name.endswith(".gguf") or Path(use.name).is_dir():
        return _local(use)
    return _of_hub(use)


def _packaged(use: Use) -> Model:
    """Weights that come as a package, with the package that reads them."""
    wanted = {
        name: packaged.PACKAGED[name].megabytes * 10**6 for name in (use.name, *packaged.PACKAGED[use.name].needs)
    }
    lacking = [
        name
        for name in wanted
        if packaged.find(name) is None and not (name == packaged.READER and packaged.has_reader())
    ]
    said = f"{use.key}: not installed is {' and '.join(lacking)}; `mmesid weights {use.name}` fetches what is missing"
    return Model(use, sum(wanted.values()), sum(wanted[name] for name in lacking), None, said if lacking else "")


def _of_open_clip(use: Use) -> Model:
    """A model that open_clip knows by name and tag, or that brings its own weights: one file, of the hub or here."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    from mmesid.encoders.open_clip_weights import place_of

    try:
        folder, repository, names = place_of(use.name, use.revision)
    except WeightsError as error:
        return Model(use, None, None, None, f"{use.key}: {error}")
    if not folder and not repository:  # an address of its own, which tells no size
        return Model(use, None, None, None)
    held = (folder / name if folder else try_to_load_from_cache(repository, name) for name in names)
    if here := next((Path(path) for path in held if isinstance(path, str | Path) and Path(path).is_file()), None):
        return Model(use, here.stat().st_size, 0, None)
    if folder:
        return Model(use, None, None, None, f"{use.key}: {folder} has no weights; expected is {' or '.join(names)}")
    try:
        told = HfApi().model_info(repository, files_metadata=True, timeout=20)
    except Exception as error:  # of the hub's many, one sentence
        return Model(use, None, None, None, str(hub.unloadable(use.key, repository, "a model of open_clip", error)))
    sizes = {file.rfilename: file.size for file in told.siblings or []}
    size = next((sizes[name] for name in names if name in sizes), None)
    return Model(use, size, size, None)


def _local(use: Use) -> Model:
    place = Path(use.name)
    files = [place] if place.is_file() else sorted(place.glob(f"*{WEIGHTS}"))
    if not files:
        return Model(use, None, None, None, f"{use.key}: {use.name} holds no weights")
    size, fault = sum(path.stat().st_size for path in files), ""
    if place.is_file() and not packaged.has_reader():
        fault = f"{use.key}: what reads {use.name} is not installed; `mmesid weights {packaged.READER}` fetches it"
    return Model(use, size, 0, sum(map(_parameters, files)) if place.is_dir() else None, fault)


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
