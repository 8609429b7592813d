"""Large files: continued where a try, or a process, broke off, and whole before anybody sees them."""

import gzip
import json
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from mmesid import host
from mmesid.artifacts.packed import open_gzip
from mmesid.artifacts.releases import Announced
from mmesid.errors import DataError, first_line, without_secret
from mmesid.pipeline.downloads.asking import Absent, Asker, Refused, Unanswered, persistently
from mmesid.pipeline.downloads.bars import Bars
from mmesid.pipeline.downloads.cache import Cache, Kept

GZIP = b"\x1f\x8b"
PIECE = 1 << 20  # bytes unpacked at a time


class Changed(Refused):
    """The server names another version than the one that was announced; the message is its name."""


class Download:
    """One file on its way into the cache.

    Args:
        asker: asks.
        cache: keeps.
        address: of the file.
        announced: what the address said of it; what comes must be that.
    """

    def __init__(self, asker: Asker, cache: Cache, address: str, announced: Announced) -> None:
        self._asker, self._cache = asker, cache
        self._address, self._announced = address, announced
        self._part = cache.partial(address)
        self._told = self._part.with_suffix(".json")
        self._before = 0

    def fetch(self, bars: Bars) -> Kept:
        """Wait for the file; another process that fetches the same is waited for.

        Raises:
            DataError: it cannot be had, or is not what the address announced.
        """
        with host.locked(self._part.with_suffix(".lock")):
            if kept := self._cache.find(self._address, self._announced.version, self._announced.bytes):
                return kept
            try:
                persistently(lambda: self._continue(bars), self._progressed)
                self._check()
            except Changed as other:
                raise DataError(f"{without_secret(self._address)} cannot be fetched: {self._why(other)}") from None
            except (Refused, Unanswered) as error:
                raise DataError(f"{without_secret(self._address)} cannot be fetched: {error}") from None
            kept = self._cache.keep(self._address, self._announced.version, self._part)
            self._told.unlink(missing_ok=True)
            return kept

    def _continue(self, bars: Bars) -> None:
        """One try, from where the last one ended."""
        have, total = self._have(), self._announced.bytes
        if have and have == total:
            return
        headers = {"Range": f"bytes={have}-", **_if_range(self._announced.version)} if have else {}
        with self._asker.answer(self._address, headers) as response:
            if response.status_code == 416:
                if have and response.headers.get("Content-Range", "").endswith(f"/{have}"):
                    return  # nothing is left to send
                self._part.unlink(missing_ok=True)
                raise Unanswered("HTTP 416: the server has less than was fetched")
            self._check_version(response)
            if response.status_code != 206 or not response.headers.get("Content-Range", "").startswith(
                f"bytes {have}-"
            ):
                have = 0
            self._told.write_text(json.dumps(self._announced.version), encoding="utf-8")
            with self._part.open("r+b" if have else "wb") as file:
                file.seek(have)
                for piece in response.iter_raw():
                    file.write(piece)
                    have += len(piece)
                    bars.show(Path(self._announced.path).name, have, total, "MB")
        if total is not None and have != total:
            raise Unanswered(f"the answer ended after {have:,} of {total:,} bytes")

    def _have(self) -> int:
        """Bytes that are here of this version; none where it has no name, for the rest might be of another."""
        if not self._announced.version:
            return 0
        try:
            told = json.loads(self._told.read_text(encoding="utf-8"))
            size = self._part.stat().st_size
        except (OSError, ValueError):
            return 0
        fits = self._announced.bytes is None or size <= self._announced.bytes
        return size if told == self._announced.version and fits else 0

    def _progressed(self) -> bool:
        before, self._before = self._before, self._have()
        return self._before > before

    def _check_version(self, response: httpx.Response) -> None:
        found = version_of(response)
        if found != self._announced.version and (found or response.status_code != 206):
            raise Changed(found)

    def _why(self, other: Changed) -> str:
        """Whether the file has changed, or the server does not call one state by one name."""
        recorded, found = self._announced.version, str(other)
        try:
            now = persistently(lambda: look(self._asker, self._address, self._announced.path)).version
        except (Refused, Unanswered):
            now = found
        if now != found:
            return (
                f"the server names another version at each request ({', '.join(map(_call, (recorded, found, now)))}), "
                "so that nobody knows whether it has changed: fetch the files by other means, and name their folder as "
                "ingest.base_url"
            )
        return (
            f"it has changed since it was recorded ({_call(recorded)}, now {_call(found)}): `mmesid sources`, which "
            "`make repro` calls, takes it as it is now"
        )

    def _check(self) -> None:
        """Raises Refused where what has come is no whole gzip file, though its name says so; nothing of it stays."""
        if not self._announced.path.endswith(".gz"):
            return
        with self._part.open("rb") as file:
            beginning = file.read(40)
        try:
            with open_gzip(self._part) as unpacked:
                while unpacked.read(PIECE):
                    pass
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self._part.unlink()
            page = not beginning.startswith(GZIP)
            what = (
                f"no gzip file, it begins with {beginning!r}" if page else f"a damaged gzip file ({first_line(error)})"
            )
            raise Refused(f"what came is {what}") from None


def fetch_all(addresses: Sequence[tuple[str, Announced]], cache: Cache, connections: int) -> list[Kept]:
    """Files of one address, side by side.

    Raises:
        DataError: of the first that cannot be had.
    """
    with Bars() as bars, ThreadPoolExecutor(connections) as pool, Asker(connections) as asker:  # closed first: ends all
        return list(pool.map(lambda one: Download(asker, cache, *one).fetch(bars), addresses))


def look(asker: Asker, address: str, name: str) -> Announced:
    """A file as its server announces it: by HEAD; where that is refused or says too little, by a GET's beginning.

    Raises:
        Refused, Unanswered: it is not announced.
    """
    try:
        with asker.answer(address, method="HEAD") as response:
            said = _announced(response, name)
            if said.version and said.bytes != 0:
                return said
    except Absent:
        raise
    except Refused:
        pass
    with asker.answer(address) as response:
        return _announced(response, name)


def _announced(response: httpx.Response, name: str) -> Announced:
    told = response.headers.get("Content-Length", "")
    return Announced(name, int(told) if told.isdecimal() else None, version_of(response))


def version_of(response: httpx.Response) -> str:
    """What a server calls this state of a file."""
    return str(response.headers.get("ETag") or response.headers.get("Last-Modified") or "")


def _call(version: str) -> str:
    return version or "no version"


def _if_range(version: str) -> dict[str, str]:
    """Continue this version alone; what a weak ETag names cannot be continued for sure, but is checked afterwards."""
    return {"If-Range": version} if version and not version.startswith("W/") else {}
