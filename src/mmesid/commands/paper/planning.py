"""The outlook on a run: downloads, disk, memory, hours, and every reason why it cannot end."""

import os
import shutil
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

from mmesid.artifacts.hub import SPARE
from mmesid.commands.paper import hours, models
from mmesid.commands.paper.datasets import Wanted
from mmesid.commands.paper.models import Model
from mmesid.commands.plan import durations
from mmesid.commands.screen import duration, size
from mmesid.config import Config
from mmesid.errors import without_secret
from mmesid.pipeline.downloads import address, cache
from mmesid.pipeline.downloads.cache import Cache

LARGE = 1_500_000_000  # parameters above which a model is no work for a processor
LOOKED_AT = 200  # products of a folder's file, for pictures
TRAINED = 16  # bytes a trained weight takes in float32: itself, its gradient, AdamW's two moments
CONTENT_WIDTH = {"llm2clip": 1280, "open_clip": 512, "sentence_transformers": 384, "transformers": 768}


class Gpus(NamedTuple):
    """The GPUs of this machine."""

    names: list[str]
    memory: int  # bytes of the smallest


class Outlook(NamedTuple):
    """What a run will need."""

    rows: list[tuple[str, str]]  # subject, detail
    faults: list[str]  # why it cannot end; none: it can
    processes: int  # that share fine-tuning and encoding


def outlook(datasets: Sequence[Wanted], preset: str, processes: int, root: Path) -> Outlook:
    """Look ahead.

    Args:
        datasets: that shall run.
        preset: its name, for people.
        processes: 0: one for each GPU.
        root: the project's folder.
    """
    gpus = find_gpus()
    several = processes or max(1, len(gpus.names))
    named = {use: models.look(use) for one in datasets for use in models.uses(one.settings)}
    needed, fetched = _downloads(datasets, named.values(), root)
    memory = {one.name: memory_floor(one.settings, named, several) for one in datasets}
    faults = [
        *(f"{one.name}: {one.fault}" for one in datasets if one.fault),
        *(model.fault for model in named.values() if model.fault),
        *_too_weak(named, gpus, several, memory),
        *_too_full(needed, root),
    ]
    new = [one.name for one in datasets if one.new]
    known = "at least " if any("unknown" in line for line in fetched) else ""  # what nobody tells is not in it
    rows = [
        ("datasets", ", ".join(one.name for one in datasets) + (f" (new: {', '.join(new)})" if new else "")),
        ("preset", preset or ("paper for new ones, else as conf/ has it" if new else "as conf/ has it")),
        ("machine", _machine(gpus, several)),
        *(("to download", line) for line in fetched),
        *(
            ("disk", f"{where}: {known}{size(bytes_)} to download, {size(_free(where))} free")
            for where, bytes_ in needed
        ),
        *(("memory", line) for line in sorted({said for found in memory.values() for _, said in found})),
        *(("time", line) for line in _times(datasets, named, gpus, several, root)),
        *(("note", note) for note in dict.fromkeys(one.note for one in datasets) if note),
    ]
    return Outlook(rows, list(dict.fromkeys(faults)), several)


def find_gpus() -> Gpus:
    """Those that torch sees, and may use."""
    import torch

    if os.environ.get("MMESID_DEVICE") == "cpu" or not torch.cuda.is_available():
        return Gpus([], 0)
    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return Gpus([one.name for one in found], min(one.total_memory for one in found))


def memory_floor(settings: Config, named: dict[models.Use, Model], several: int) -> list[tuple[float, str]]:
    """Bytes that stages take on a device at least, each with its sentence: weights, and what is trained of them."""
    found = []
    backbone = 0.0
    for use in models.uses(settings):
        if (held := named[use].memory) is not None:
            backbone = held if use.key == "init_codes.backbone" else backbone
            found.append((held, f"at least {size(held)} for {use.name}'s weights in {use.dtype} ({use.key})"))
    tokenizer = TRAINED * _tokenizer_weights(settings)
    found.append((tokenizer, f"at least {size(tokenizer)} for training the tokenizer"))
    if settings.init_codes.items == "table":
        share = several if settings.finetune.sharding == "full" else 1
        trained = (TRAINED * _input_weights(settings) + backbone) / share
        found.append((trained, f"at least {size(trained)} for fine-tuning, and the activations, which a trial fits"))
    return found


def _tokenizer_weights(settings: Config) -> int:
    """Weights of MM-RQ-VAE: encoder and decoder of each modality, each with a linear map beside it, and codebooks."""
    section, total = settings.tokenize, 0
    for width in _widths(settings).values():
        sizes = [width, *section.hidden, section.dimension]
        layers = sum(left * right for left, right in pairwise(sizes)) + width * section.dimension
        total += 2 * layers + section.levels * section.codes * section.dimension
    return total


def _input_weights(settings: Config) -> int:
    """Weights of the input network over [embedding; codes] of each modality, 3C wide where the paper's C is known."""
    hidden = settings.init_codes.input_hidden
    width = hidden // 3
    return len(_widths(settings)) * 2 * width * hidden + hidden * width


def _widths(settings: Config) -> dict[str, int]:
    content = settings.encode_content
    ways = {"text": content.text, "image": content.image}
    known = {modality: CONTENT_WIDTH.get(way, 128) for modality, way in ways.items() if way != "none"}
    return {"collaborative": settings.encode_collaborative.dimension, **known}


def _downloads(
    datasets: Sequence[Wanted], found: Iterable[Model], root: Path
) -> tuple[list[tuple[Path, int]], list[str]]:
    """Bytes by the folder that they go to, and what they are; what several datasets share comes once."""
    from huggingface_hub import constants

    lines, files = [], 0
    held = Cache(cache.home())
    announced = {
        f"{one.record.base_url.rstrip('/')}/{file.path}": file
        for one in datasets
        if one.record is not None and address.is_remote(one.record.base_url)
        for file in one.record.files.values()
    }
    for where, file in announced.items():
        here = held.find(where, file.version, file.bytes) is not None
        files += 0 if here else file.bytes or 0
        told = "size unknown" if file.bytes is None else size(file.bytes)
        lines.append(f"{without_secret(where)}: {'here already' if here else told}")
    for one in datasets:
        if one.record is not None and _has_links(one, root):
            most = f"up to {one.size.items:,}" if one.size else "an unknown number of"
            lines.append(f"{one.name}: {most} pictures by their links, sizes unknown; those that are here stay")
    weights = 0
    for model in {(model.use.name, model.use.revision): model for model in found}.values():
        weights += model.missing or 0
        told = "size unknown" if model.missing is None else size(model.missing)
        lines.append(f"{model.use.name}: {'here already' if model.missing == 0 else told}")
    return [(cache.home(), files), (Path(constants.HF_HUB_CACHE), weights)], lines


def _too_weak(
    named: dict[models.Use, Model],
    gpus: Gpus,
    several: int,
    memory: dict[str, list[tuple[float, str]]],
) -> list[str]:
    """What this machine's processor or GPU cannot do."""
    faults, cores = [], os.cpu_count() or 1
    if not gpus.names and several > cores:
        faults.append(f"{several} processes, but no GPU and {cores} cores: name at most as many (GPUS)")
    if gpus.names:
        if several > len(gpus.names):
            faults.append(f"{several} processes, but {len(gpus.names)} GPUs: name at most as many (GPUS)")
        for name, found in memory.items():
            for needed, said in found:
                if needed > gpus.memory:
                    faults.append(f"{name}: {said}, but a GPU here has {size(gpus.memory)}")
    if any(use.dtype == "nf4" for use in named):
        from mmesid.recommender.pretrained import NEEDS_BITSANDBYTES  # loads torch

        if not gpus.names:
            faults.append("init_codes.dtype is nf4, which is for a GPU, and torch sees none")
        if find_spec("bitsandbytes") is None:
            faults.append(NEEDS_BITSANDBYTES)
    for use, model in named.items():
        if not gpus.names and model.parameters is not None and model.parameters > LARGE:
            billions = model.parameters / 1e9
            faults.append(
                f"{use.key}: {use.name} has {billions:.1f} billion parameters, and torch sees no GPU; PRESET=cpu runs "
                "on a processor"
            )
    return faults


def _too_full(needed: Sequence[tuple[Path, int]], root: Path) -> list[str]:
    """Disks that cannot hold what is known to come."""
    disks: dict[int, tuple[Path, int]] = {}
    for where, wanted in needed:
        if wanted:
            device = _standing(where).stat().st_dev
            disks[device] = where, disks.get(device, (where, 0))[1] + wanted
    return [
        f"{where} has {size(_free(where))} free, and {size(wanted)} are to be downloaded to its disk; make room, or "
        f"name others: {cache.HOME} for review files and pictures, HF_HOME for models"
        for where, wanted in disks.values()
        if wanted + SPARE > _free(where)
    ]


def _times(
    datasets: Sequence[Wanted], named: dict[models.Use, Model], gpus: Gpus, several: int, root: Path
) -> list[str]:
    """A line for each dataset."""
    recorded, _ = durations([one.name for one in datasets], root)
    device = "cuda" if gpus.names else "cpu"
    speed, lines = hours.flops(device), []
    for one in datasets:
        known = {stage: spent for stage, spent in recorded.items() if stage.endswith(f"@{one.name}")}
        if f"finetune@{one.name}" in known:
            lines.append(f"{one.name}: {duration(sum(known.values()))}, as recorded; what is up to date takes seconds")
            continue
        backbone = next((named[use] for use in models.uses(one.settings) if use.key == "init_codes.backbone"), None)
        estimate = None
        if one.size and device == "cpu":
            estimate = hours.on_processor(one.settings, one.size, speed, _has_pictures(one, root))
        elif one.size and backbone:
            estimate = hours.on_gpu(one.settings, one.size, speed, several, backbone)
        if estimate is None:
            lines.append(f"{one.name}: unknown before its data are here; fine-tuning foretells its own by a trial")
        else:
            what = "about" if "encode_collaborative" in estimate.seconds else "fine-tuning at least"
            lines.append(f"{one.name}: {what} {duration(estimate.total)}, {estimate.basis}; downloads come on top")
    return lines


def _has_pictures(one: Wanted, root: Path) -> bool:
    """Whether products will have pictures, as far as it shows."""
    return _brings_pictures(one, root) or _has_links(one, root)


def _brings_pictures(one: Wanted, root: Path) -> bool:
    """Whether the files lie in a folder with pictures, which then are all there are."""
    from mmesid.data.pictures import list_pictures

    if one.record is None or address.is_remote(one.record.base_url):
        return False
    return bool(list_pictures(root / one.record.base_url))


def _has_links(one: Wanted, root: Path) -> bool:
    """Whether pictures are fetched by links, as far as it shows: of a folder, its first products are looked at."""
    from mmesid.data.amazon_layouts import LAYOUTS, find_picture
    from mmesid.data.object_lines import read_lines

    section = one.settings.ingest
    if not section.fetch_images or one.record is None or address.is_remote(one.record.base_url):
        return section.fetch_images
    if _brings_pictures(one, root):
        return False
    layout = LAYOUTS[section.release]
    lines = islice(read_lines(root / one.record.base_url / one.record.files["items"].path), LOOKED_AT)
    return any(find_picture(line.found, layout) for line in lines if line.found)


def _machine(gpus: Gpus, several: int) -> str:
    if not gpus.names:
        return f"no GPU, {os.cpu_count()} cores" + (f", {several} processes" if several > 1 else "")
    return f"{len(gpus.names)} x {gpus.names[0]}, {size(gpus.memory)} each; processes: {several}"


def _standing(where: Path) -> Path:
    """The nearest folder above that exists."""
    return next(folder for folder in (where, *where.absolute().parents) if folder.exists())


def _free(where: Path) -> int:
    return shutil.disk_usage(_standing(where)).free
