"""What every encoder that Hugging Face keeps has in common: pinned, whole or refused, in the precision that pays."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmesid.artifacts.hub import answers, check_whole, commit_of, unloadable
from mmesid.errors import MmesidError, WeightsError
from mmesid.kernels.softmax import multiplies_bfloat16

BFLOAT16_WORK = 1e11  # parameters times pieces below which bfloat16 gains little and makes results depend on the device


@contextmanager
def explained(key: str, name: str, expected: str) -> Iterator[None]:
    """Say of a model that does not load why, and what to do; a memory that is full is another matter.

    Args:
        key: of the parameter that names it.
        name: hub id or folder.
        expected: what the parameter takes.

    Raises:
        WeightsError: the model is not here, cannot be reached, is gated, damaged, incomplete or not supported.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        yield
    except WeightsError as error:  # of the files, whose key nobody below knows
        raise error if str(error).startswith(key) else WeightsError(f"{key}: {error}") from None
    except (MmesidError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise unloadable(key, name, expected, error) from None


def pin(name: str, revision: str | None) -> tuple[str | None, dict[str, Any]]:
    """The commit of a hub model, None for a folder; and what the calls take that read its files.

    Where the hub fails, the cache alone is asked: else each file that a model may have and lacks would be waited for.

    Raises:
        WeightsError: weights in the folder are cut short, or do not fit on the disk.
        OSError: the hub does not have the model, or cannot be reached; there is no such folder.
    """
    commit = commit_of(name, revision)
    if commit is None:
        check_whole(Path(name))
    is_failing = commit is not None and not answers(name, commit)
    return commit, {"revision": commit or revision, "local_files_only": is_failing}


def optional_file(where: str, name: str, **options: Any) -> str | None:
    """Where a file of a model lies on this machine, None where the model has none of that name.

    Args:
        where: hub id or folder.
        name: of the file.
        options: as `pin` gives them.
    """
    from transformers.utils import cached_file

    from mmesid.artifacts.hub_bars import Bar

    options |= {"_raise_exceptions_for_missing_entries": False, "tqdm_class": Bar}
    found: str | None = cached_file(where, name, **options)
    return found


def pretrained(kind: Any, where: str, **options: Any) -> tuple[Any, list[str]]:
    """A model in the precision that its weights are stored in, and the names of those that its checkpoint lacks.

    Args:
        kind: the class of transformers that loads it.
        where: hub id or folder; a download says how far it is.
        options: as `pin` gives them, and more.
    """
    from mmesid.artifacts.hub_bars import Bar

    if options.get("local_files_only"):  # else an adapter is looked for on the hub all the same
        options["adapter_kwargs"] = {"local_files_only": True}
    model, report = kind.from_pretrained(where, dtype="auto", output_loading_info=True, tqdm_class=Bar, **options)
    return model, sorted(report["missing_keys"])


def tensors(where: str, prefix: str, **options: Any) -> dict[str, Tensor]:
    """Tensors of a safetensors checkpoint by names without the prefix, whether it is one file or several.

    Raises:
        ValueError: it has no such file, or no tensor of that prefix.
    """
    import json

    from safetensors import safe_open

    index = optional_file(where, "model.safetensors.index.json", **options)
    if index:
        placed: Mapping[str, str] = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"]
        files = sorted({file for name, file in placed.items() if name.startswith(prefix)})
    else:
        files = ["model.safetensors"]
    found: dict[str, Tensor] = {}
    for file in files:
        path = optional_file(where, file, **options)
        if path is None:
            raise ValueError(f"it has no {file}")
        with safe_open(path, framework="pt") as opened:
            names = [name for name in opened.keys() if name.startswith(prefix)]  # noqa: SIM118 (no mapping)
            found |= {name.removeprefix(prefix): opened.get_tensor(name) for name in names}
    if not found:
        raise ValueError(f"it has no weights named {prefix}*")
    return found


def refuse_random(missing: Collection[str]) -> None:
    """Weights that a checkpoint lacks would be random.

    Raises:
        ValueError: there are such.
    """
    if missing:
        raise ValueError(f"it lacks {len(missing)} weights (first: {min(missing)}), which would be random")


def positions(model: Any) -> int | None:
    """How many tokens a model has positions for, None where it counts them without an end."""
    found = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return int(found) - first_position(model) if found else None


def first_position(model: Any) -> int:
    """Of a text's first token: models of RoBERTa's kind count from behind the position that padding has."""
    tables = [part for name, part in model.named_modules() if name.endswith("position_embeddings")]
    padding = [table.padding_idx for table in tables if getattr(table, "padding_idx", None) is not None]
    return int(padding[0]) + 1 if padding else 0


def parameters(model: Any) -> int:
    """How many numbers a model has learned."""
    return sum(weights.numel() for weights in model.parameters())


def choose_dtype(wanted: str, work: float, device: str) -> torch.dtype:
    """`auto` is bfloat16 where the device multiplies it and there is much to do.

    Args:
        wanted: float32, bfloat16 or auto.
        work: parameters times pieces to encode.
        device: cpu, cuda, ...
    """
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bfloat16" else torch.float32
    return torch.bfloat16 if work >= BFLOAT16_WORK and multiplies_bfloat16(device) else torch.float32


def dtype_name(model: Any) -> str:
    """As the parameters write it."""
    return str(model.dtype).removeprefix("torch.")


def state_of(folder: Path) -> str:
    """Names, sizes and ages of a folder's files; empty for what is no folder."""
    if not folder.is_dir():
        return ""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    seen = [(path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(seen).encode()).hexdigest()
