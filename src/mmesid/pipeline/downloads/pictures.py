"""Pictures by their links: each is fetched once, and what cannot be had says why.

Pictures that open stay in the cache, so that a second run, or one after a kill, fetches only what is missing.
"""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx

from mmesid.artifacts.pictures import decode
from mmesid.errors import DataError, first_line
from mmesid.pipeline.downloads.asking import Asker, Refused, Unanswered, persistently
from mmesid.pipeline.downloads.bars import Bars
from mmesid.pipeline.downloads.cache import Cache

MAX_BYTES = 20_000_000  # of one picture
MAX_SECONDS = 60.0  # of one try, however steadily it trickles in
NO_ANSWER = "no answer"
BEGINNINGS = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP")  # of picture files


class Fetched(NamedTuple):
    """What became of the links."""

    pictures: dict[str, bytes | str]  # by link: the file, or why there is none
    requested: int  # links that were not in the cache
    unanswered: int  # of these, links that had no answer at all


def fetch_pictures(links: Iterable[str], cache: Cache, connections: int) -> Fetched:
    """Fetch what the cache lacks.

    Args:
        links: those that stand several times are fetched once.
        cache: where they stay.
        connections: at a time.
    """
    wanted = list(dict.fromkeys(links))
    found: dict[str, bytes | str] = {}
    counts = {"requested": 0, "unanswered": 0}
    with Bars() as bars, ThreadPoolExecutor(connections) as pool, Asker(connections) as asker:  # closed first: ends all
        for done, (link, picture, fresh, answered) in enumerate(
            pool.map(lambda link: _one(link, cache, asker), wanted), 1
        ):
            found[link] = picture
            counts["requested"] += fresh
            counts["unanswered"] += not answered
            bars.show("pictures", done, len(wanted), "pictures")
    return Fetched(found, **counts)


def check_answered(fetched: Fetched, limit: float) -> None:
    """Raises DataError where too many links had no answer, which says more of the network than of the pictures.

    Args:
        fetched: what became of all links.
        limit: `ingest.max_unanswered`, a share of them.
    """
    if fetched.unanswered > limit * len(fetched.pictures):
        raise DataError(
            f"{fetched.unanswered:,} of {len(fetched.pictures):,} pictures had no answer, more than "
            f"ingest.max_unanswered allows ({limit:.1%}); those that came are kept: run again, or raise it to mask the "
            f"rest. {_example(fetched)}"
        )


def _example(fetched: Fetched) -> str:
    faults = ((link, why) for link, why in fetched.pictures.items() if isinstance(why, str))
    link, why = next((link, why) for link, why in faults if why.startswith(NO_ANSWER))
    return f"The first: {link}, {why}"


def _one(link: str, cache: Cache, asker: Asker) -> tuple[str, bytes | str, bool, bool]:
    """A link, its picture or why there is none, whether it was asked for, and whether there was an answer."""
    if kept := cache.find(link):
        return link, kept.path.read_bytes(), False, True
    try:
        content = persistently(lambda: _fetch(link, asker))
    except Refused as error:
        return link, str(error), True, True
    except Unanswered as error:
        return link, f"{NO_ANSWER}: {error}", True, False
    cache.keep_bytes(link, "", content)
    return link, content, True, True


def _fetch(link: str, asker: Asker) -> bytes:
    """One try."""
    started, content = time.monotonic(), bytearray()
    with asker.answer(link) as response:
        _check_kind(response)
        whole = "Content-Length" in response.headers or "Transfer-Encoding" in response.headers
        for piece in response.iter_bytes():  # unpacked, where a server packs unasked
            content += piece
            if len(content) > MAX_BYTES:
                raise Refused(f"too large: more than {MAX_BYTES / 1e6:.0f} MB")
            if time.monotonic() - started > MAX_SECONDS:
                raise Unanswered(f"not whole after {MAX_SECONDS:.0f} s")
    if not content:
        raise Refused("an empty answer instead of a picture")
    if not _begins_like_a_picture(content):
        page = content.lstrip()[:1] == b"<"
        raise Refused("a page instead of a picture" if page else f"no picture: it begins with {bytes(content[:12])!r}")
    try:
        decode(bytes(content))
    except Exception as error:  # whatever damaged bytes make the reader trip over
        if whole:
            raise Refused(f"a damaged picture: {first_line(error)}") from None
        raise Unanswered(f"a picture that breaks off: {first_line(error)}") from None
    return bytes(content)


def _begins_like_a_picture(content: bytes | bytearray) -> bool:
    webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    avif = content[4:8] == b"ftyp"
    return webp or avif or content.startswith(BEGINNINGS)


def _check_kind(response: httpx.Response) -> None:
    """Raises Refused where the answer says of itself that it is a part, a page, or too large."""
    if response.status_code == httpx.codes.PARTIAL_CONTENT:
        raise Refused("a part instead of a picture (HTTP 206)")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise Refused(f"a page instead of a picture ({kind})")
    told = response.headers.get("Content-Length", "")
    if told.isdecimal() and int(told) > MAX_BYTES:
        raise Refused(f"too large: {int(told) / 1e6:,.0f} MB, at most {MAX_BYTES / 1e6:.0f} MB are taken")
