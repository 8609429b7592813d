"""What was fetched, on this machine and for every checkout: content by its digest, and which address gave which.

    index/<2>/<sha256 of the address>.json   address, version, sha256, bytes
    content/<2>/<sha256>                     the bytes
    partial/<sha256 of the address>          a download that is not whole yet, and its version

Content is whole or absent, and is read again before it is trusted: what does not fit its digest counts as absent.
"""

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from mmesid.artifacts.texts import save_text

HOME = "MMESID_DOWNLOADS"  # names another folder


class Kept(NamedTuple):
    """Content that is here, whole."""

    path: Path
    version: str  # as the server called it; empty where it did not
    sha256: str
    bytes: int


def home() -> Path:
    """The folder of all downloads."""
    if named := os.environ.get(HOME):
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "mme-sid" / "downloads"


def sha256_of(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Cache:
    """Several processes may share one; each finds what the others have finished."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, address: str, version: str | None = None, size: int | None = None) -> Kept | None:
        """What an address gave, None where it is not here or no longer whole.

        Args:
            address: of the file or picture.
            version: the only one that will do; any where it is None.
            size: in bytes, likewise; where a server names no version, it alone tells new content from old.
        """
        told = self._told(address)
        if told is None or version not in (None, told["version"]) or size not in (None, told["bytes"]):
            return None
        kept = Kept(self._content(told["sha256"]), told["version"], told["sha256"], told["bytes"])
        try:
            whole = kept.path.stat().st_size == kept.bytes and sha256_of(kept.path) == kept.sha256
        except OSError:
            return None
        return kept if whole else None

    def keep(self, address: str, version: str, path: Path) -> Kept:
        """Move a file that is whole into the cache."""
        sha256, size = sha256_of(path), path.stat().st_size
        place = self._content(sha256)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
        told = {"address": address, "version": version, "sha256": sha256, "bytes": size}
        text = json.dumps(told, ensure_ascii=False) + "\n"
        save_text(self._entry(address), text)
        return Kept(place, version, sha256, size)

    def keep_bytes(self, address: str, version: str, content: bytes) -> Kept:
        """Keep what came in one piece."""
        beside = self.partial(address).with_suffix(f".{uuid.uuid4().hex}")
        beside.write_bytes(content)
        return self.keep(address, version, beside)

    def partial(self, address: str) -> Path:
        """Where a download grows."""
        folder = self.folder / "partial"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / _key(address)

    def forget(self, address: str) -> None:
        """Take what an address gave for absent."""
        self._entry(address).unlink(missing_ok=True)

    def _told(self, address: str) -> dict[str, Any] | None:
        try:
            told = json.loads(self._entry(address).read_text(encoding="utf-8"))
            return told if {"version", "sha256", "bytes"} <= set(told) else None
        except (OSError, ValueError, TypeError):
            return None

    def _entry(self, address: str) -> Path:
        key = _key(address)
        return self.folder / "index" / key[:2] / f"{key}.json"

    def _content(self, sha256: str) -> Path:
        return self.folder / "content" / sha256[:2] / sha256


def _key(address: str) -> str:
    return hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()
