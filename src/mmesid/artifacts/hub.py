"""Models of a Hugging Face hub, and their files: what is wrong with them, said before minutes are spent on them."""

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

from mmesid.errors import WeightsError, first_line

SPARE = 2**28  # bytes beside a download that a disk should keep


def explain(name: str, error: BaseException) -> str:
    """Why a model does not load, and what mends it.

    Args:
        name: hub id or folder.
        error: of `from_pretrained`; what caused it is looked at as well.
    """
    from huggingface_hub import constants, errors

    causes = list(_chain(error))
    token = "log in by `hf auth login`, or set HF_TOKEN to a token of yours that may read it"
    if any(isinstance(cause, errors.GatedRepoError) for cause in causes):
        return f"it is gated: accept its terms at {constants.ENDPOINT}/{name} and {token}"
    if any(isinstance(cause, errors.RepositoryNotFoundError) for cause in causes):
        return f"{constants.ENDPOINT} has no {name}, or keeps it private: mend the name, or {token}"
    if constants.HF_HUB_OFFLINE and any(isinstance(cause, errors.LocalEntryNotFoundError) for cause in causes):
        return f"HF_HUB_OFFLINE is set, and it is not in {constants.HF_HUB_CACHE}: fetch it once without"
    return first_line(error)


def check_space(name: str, revision: str | None) -> None:
    """Refuse a download that the disk cannot hold. A hub that tells no sizes, or none at all, is left to the download.

    Args:
        name: hub id.
        revision: commit, tag or branch; None: the newest.

    Raises:
        WeightsError: the weights that are not in the cache yet are larger than what is free.
    """
    from huggingface_hub import HfApi, constants, try_to_load_from_cache

    try:
        files = HfApi().model_info(name, revision=revision, files_metadata=True).siblings or []
    except Exception:  # a hub that does not answer is the download's to report, in words of its own
        return
    cached = {file.rfilename for file in files if try_to_load_from_cache(name, file.rfilename, revision=revision)}
    weights = [file for file in files if file.rfilename.endswith(".safetensors")]
    needed = sum(file.size or 0 for file in weights if file.rfilename not in cached)
    cache = Path(constants.HF_HUB_CACHE)
    standing = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    free = shutil.disk_usage(standing).free
    if needed and needed + SPARE > free:
        raise WeightsError(
            f"{name} is a download of {needed / 1e9:.1f} GB, and {cache} has {free / 1e9:.1f} GB free; make room, or "
            "set HF_HOME to a folder on a larger disk"
        )


def check_whole(folder: Path) -> None:
    """Refuse weights that are cut short, by their headers alone.

    Args:
        folder: holds safetensors files, or none.

    Raises:
        WeightsError: one is shorter than its header says, or has none.
    """
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            header = file.read(length) if length < size else b""
        try:
            ends = [entry["data_offsets"][1] for name, entry in json.loads(header).items() if name != "__metadata__"]
        except (ValueError, LookupError, TypeError, AttributeError):
            raise _cut_short(path, "its header is not whole") from None
        expected = 8 + length + max(ends, default=0)
        if size < expected:
            raise _cut_short(path, f"it has {size:,} of {expected:,} bytes")


def check_whole_gguf(path: Path) -> None:
    """`check_whole` for a GGUF file; its reader must be importable.

    Raises:
        WeightsError: it cannot be read to its end.
    """
    from gguf import GGUFReader

    try:
        GGUFReader(path)
    except (ValueError, LookupError, OverflowError) as error:
        raise _cut_short(path, first_line(error)) from None


def _cut_short(path: Path, why: str) -> WeightsError:
    return WeightsError(f"{path} is damaged or cut short ({why}); fetch or copy it again")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
