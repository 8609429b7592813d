"""Models of a Hugging Face hub, and their files: what is wrong with them, said before minutes are spent on them."""

import errno
import json
import shutil
import struct
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from mmesid.errors import WeightsError, causes, first_line

FEWEST_WORDS = 50  # of a vocabulary that reads none of ours
SPARE = 2**28  # bytes beside a download that a disk should keep
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REASONS = (  # names of errors -> what a person can do; the first that fits
    (
        {"GatedRepoError"},
        "{name} is gated: accept its terms at {hub}/{name}, then `hf auth login`, or put a token into HF_TOKEN",
    ),
    (
        {"RevisionNotFoundError"},
        "{name} is on the hub, but not the revision that is named beside it",
    ),
    (
        {"RepositoryNotFoundError"},
        "{hub} has no {name}, or keeps it private: mend the name, or `hf auth login`, or put a token into HF_TOKEN",
    ),
    (
        {"FileMetadataError"},
        "{hub} does not say which state of {name} it has, as a hub does: mend HF_ENDPOINT, or what stands in between",
    ),
    (
        {"RemoteProtocolError", "ReadError"},
        "the connection to {hub} broke off while {name} was fetched: run again, or HF_ENDPOINT names a mirror",
    ),
    (
        {"OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectError", "ConnectionError", "TimeoutException"},
        "{name} does not lie in this machine's cache (HF_HOME), and the hub is out of reach or HF_HUB_OFFLINE forbids "
        "it: `hf download {name}` where there is a network, HF_ENDPOINT for a mirror, or name a folder",
    ),
    (
        {"SafetensorError", "EOFError"},
        "a file of weights of {name} is cut short or damaged; fetch it again ({again})",
    ),
    (
        {"UnpicklingError"},
        "the weights of {name} are a damaged pickle, a pointer of Git LFS, or more than tensors; fetch it again "
        "({again}), or take safetensors",
    ),
)
_NAMED = {"GatedRepoError", "RevisionNotFoundError", "RepositoryNotFoundError"}  # which say more than a status
_STATUS = {  # of a hub that answers, but does not give -> what a person can do
    401: "{hub} does not know the token (401): `hf auth login` anew, or put a valid one into HF_TOKEN",
    403: "{hub} forbids {name} (403): put a token that may read it into HF_TOKEN",
}
_FAILING = "{hub} answers {status} for {name}: try again later, or HF_ENDPOINT names a mirror"
POINTER = b"version https://git-lfs"  # how the text begins that Git LFS puts in the place of a file
_PATIENCE = 10.0  # seconds for a hub to say that it is there


def unloadable(key: str, name: str, expected: str, error: BaseException) -> WeightsError:
    """Why a pretrained model does not load, and what to do about it, in one sentence.

    The cause may lie behind other errors that were raised on its way; it is known by the name of its class, since each
    package below has its own.

    Args:
        key: of the parameter that names the model.
        name: hub id or folder.
        expected: what the parameter takes.
        error: that its loading raised.
    """
    from huggingface_hub import constants

    chain = list(causes(error))
    kinds = {kind.__name__ for cause in chain for kind in type(cause).__mro__}
    if any(isinstance(cause, OSError) and cause.errno in _FULL for cause in chain):
        return WeightsError(f"{key}: the disk is full, {name} does not fit; free some, or HF_HOME names another cache")
    text = next((text for known, text in _REASONS if not kinds.isdisjoint(known)), None)
    status = next((answer for cause in chain if (answer := _status(cause))), None)
    if status and kinds.isdisjoint(_NAMED):
        text = _STATUS.get(status, _FAILING)
    if text:
        again = "or copy it" if Path(expanded(name)).is_dir() else f"`hf download {name} --force-download`"
        said = text.format(name=name, hub=constants.ENDPOINT, again=again, status=status)
        return WeightsError(f"{key}: {said}")
    return WeightsError(f"{key}: expected {expected}; {name!r} does not load ({first_line(error)})")


def _status(error: BaseException) -> int | None:
    """What a hub answered; None where it did not, or said that it has no such file, as of many a file is true."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) and status >= 400 and status != 404 else None


def expanded(name: str) -> str:
    """A folder's name with its ~ written out; any other name as it is."""
    return str(Path(name).expanduser()) if name.startswith("~") else name


def commit_of(name: str, revision: str | None) -> str | None:
    """The commit that a revision of a hub model stands for now, None for a folder: every file shall be of that one.

    Raises:
        WeightsError: its weights do not fit on the disk.
        OSError: the hub does not have it, or cannot be reached; or the name is one of a file, or of a folder that
            is not there.
    """
    from huggingface_hub.errors import LocalEntryNotFoundError

    if Path(name).is_dir():
        return None
    if Path(name).is_file():
        raise NotADirectoryError(f"{name} is a file, not a folder")
    if name.startswith(("/", ".", "~")):
        raise FileNotFoundError(f"there is no folder {name}")
    if not answers(name, revision):
        with suppress(LocalEntryNotFoundError):
            return _configuration(name, revision, local_files_only=True).parent.name
    commit = _configuration(name, revision).parent.name  # snapshots/<commit>/config.json
    check_space(name, commit)
    return commit


def answers(name: str, revision: str | None) -> bool:
    """Whether the hub says anything of a model, be it that it has none. One that fails is asked anew for every file."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(name, revision=revision, timeout=_PATIENCE)
    except HfHubHTTPError as error:
        return error.response.status_code < 500 and error.response.status_code != 429
    except Exception:  # no network, or none that may be used
        return False
    return True


def _configuration(name: str, revision: str | None, local_files_only: bool = False) -> Path:
    """config.json of a hub model, or modules.json where the configuration lies in a folder that it names."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(name, "config.json", revision=revision, local_files_only=local_files_only))
    except EntryNotFoundError:
        with suppress(EntryNotFoundError):
            return Path(hf_hub_download(name, "modules.json", revision=revision, local_files_only=local_files_only))
        raise


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
    safe = {PurePosixPath(file.rfilename).parent for file in files if file.rfilename.endswith(".safetensors")}
    weights = [file for file in files if _is_read(PurePosixPath(file.rfilename), safe)]
    needed = sum(file.size or 0 for file in weights if file.rfilename not in cached)
    cache = Path(constants.HF_HUB_CACHE)
    standing = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    free = shutil.disk_usage(standing).free
    if needed and needed + SPARE > free:
        raise WeightsError(
            f"{name} is a download of {needed / 1e9:.1f} GB, and {cache} has {free / 1e9:.1f} GB free; make room, or "
            "set HF_HOME to a folder on a larger disk"
        )


def _is_read(file: PurePosixPath, safe: Collection[PurePosixPath]) -> bool:
    """Whether a file holds weights that are read: safetensors, or a pickle where its folder has none of these."""
    return file.suffix == ".safetensors" or (
        file.suffix == ".bin" and file.name.startswith("pytorch_model") and file.parent not in safe
    )


def knows_words(tokenizer: Any) -> bool:
    """Whether it has a vocabulary. A tokenizer made without its files has little more than special tokens and takes all
    words for one, as the vocabulary of another script may do with ours.
    """
    first, second = tokenizer(["a red wool lamp", "2 new blue cups"], add_special_tokens=False)["input_ids"]
    words = set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)
    return first != second or len(words) >= FEWEST_WORDS


def check_whole(folder: Path) -> None:
    """Refuse weights that are cut short, by their headers alone, or that Git LFS has not fetched.

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
        if start == POINTER[:8]:
            raise _cut_short(path, "it is a pointer of Git LFS: `git lfs pull` fetches the file")
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
