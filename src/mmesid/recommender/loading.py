"""From a stage's folder back to a recommender that scores; and from a recommender to such a folder."""

import shutil
from pathlib import Path

import torch

from mmesid.artifacts.files import load_json, load_tensors, save_json, save_tensors
from mmesid.artifacts.finetune import load_checkpoint, save_checkpoint
from mmesid.recommender.adapter import adapter_tensors, load_adapter, merge
from mmesid.recommender.backbone import Backbone
from mmesid.recommender.building import checkpoint, restore
from mmesid.recommender.model import Recommender
from mmesid.recommender.pretrained import decoder, precision
from mmesid.recommender.source import Pinned


def save_initial(folder: Path, model: Recommender, backbone: Backbone, own: bool) -> None:
    """Write the recommender before fine-tuning; a backbone that is `own` is saved, another is a pinned pointer."""
    save_checkpoint(folder, checkpoint(model))
    left_out = ("model", "tokenizer", *(() if backbone.state else ("state",)))
    pointer = {name: value for name, value in backbone._asdict().items() if name not in left_out}
    save_json(folder / "backbone.json", pointer)
    if own:
        _without_bars()
        beside = folder / ".backbone"
        shutil.rmtree(beside, ignore_errors=True)
        backbone.model.save_pretrained(beside)
        backbone.tokenizer.save_pretrained(beside)
        shutil.rmtree(folder / "backbone", ignore_errors=True)
        beside.rename(folder / "backbone")


def save_finetuned(folder: Path, model: Recommender, lora: dict[str, object] | None) -> None:
    """Write the fine-tuned recommender: adapter (or all weights of the backbone) and everything around it."""
    save_tensors(folder / "adapter.safetensors", adapter_tensors(model.backbone))
    save_json(folder / "adapter.json", lora)
    save_checkpoint(folder, checkpoint(model))


def load_initial(folder: Path, device: str) -> Recommender:
    """The recommender as `init_codes` wrote it."""
    return restore(load_checkpoint(folder), _backbone(folder)).to(device)


def load_finetuned(initial: Path, finetuned: Path, device: str) -> Recommender:
    """The fine-tuned recommender, to score and not to train further; its backbone is taken from `init_codes`.

    Args:
        initial: folder of `init_codes`.
        finetuned: folder of `finetune`.
        device: where it shall score.
    """
    adapter, lora = load_tensors(finetuned / "adapter.safetensors"), load_json(finetuned / "adapter.json")
    backbone = merge(load_adapter(_backbone(initial), adapter, lora))
    return restore(load_checkpoint(finetuned), backbone).to(device)


def pinned(folder: Path) -> Pinned:
    """What `init_codes` says of the backbone.

    Args:
        folder: of `init_codes`.
    """
    pointer = load_json(folder / "backbone.json")
    return Pinned(**{name: pointer.get(name) for name in Pinned._fields})


def _backbone(folder: Path) -> torch.nn.Module:
    """Our own as it was saved, a pretrained one from where its pointer says."""
    from transformers import AutoModel

    _without_bars()
    own, pointer = folder / "backbone", pinned(folder)
    if own.exists():
        backbone: torch.nn.Module = AutoModel.from_pretrained(own, local_files_only=True, **precision(pointer.dtype))
        return backbone
    found: torch.nn.Module = decoder(pointer)
    return found


def _without_bars() -> None:
    """A bar over one small file is noise between the stages' own."""
    from transformers.utils import logging

    logging.disable_progress_bar()
