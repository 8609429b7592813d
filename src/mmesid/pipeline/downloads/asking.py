"""Asking servers, politely: few at a time, with back-off, and what an answer means.

An answer is good, final (there is no such file, too many redirects) or worth another try: no answer in time, a
connection that broke, a server that is busy or failing. A server that says how long to wait is heard, and while it
waits, so do all other requests to it. One that fails many times in a row is left alone.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from mmesid import __version__
from mmesid.errors import first_line

CONNECT_SECONDS, READ_SECONDS = 10.0, 20.0  # to be answered at all; between two pieces of an answer
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds between tries: doubled each time, and drawn from its upper half
TRIES = 5
REDIRECTS = 5
GIVE_UP = 40  # failures in a row after which a server is asked nothing more
BUSY = (408, 425, 429, 500, 502, 503, 504)
GONE = (404, 410)
UNUSABLE = (httpx.InvalidURL, UnicodeError)  # the latter of names of servers that are none

T = TypeVar("T")


class Refused(Exception):
    """A final answer that is not what was asked for; the message says why."""


class Absent(Refused):
    """There is nothing at the address."""


class Unanswered(Exception):
    """No answer yet, and whether another try helps nobody knows.

    Args:
        reason: for people.
        seconds: to wait at least.
    """

    def __init__(self, reason: str, seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.seconds = seconds


class Asker:
    """One client for all downloads of a run; threads may share it. To be closed, or used in `with`."""

    def __init__(self, connections: int) -> None:
        self._client = httpx.Client(
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"User-Agent": f"mme-sid/{__version__}", "Accept-Encoding": "identity"},
            follow_redirects=True,
            max_redirects=REDIRECTS,
        )
        self._lock = threading.Lock()
        self._not_before: dict[str, float] = {}
        self._failures: Counter[str] = Counter()

    def __enter__(self) -> "Asker":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @contextmanager
    def answer(
        self, address: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> Iterator[httpx.Response]:
        """One try: a good answer whose content is still to be read, 416 included.

        Raises:
            Refused: the answer is final.
            Unanswered: another try may help; also where the answer breaks off while it is read.
        """
        host = self._wait(address)
        try:
            with self._client.stream(method, address, headers=headers) as response:
                _judge(response)
                yield response
        except (*UNUSABLE, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
            raise Refused(f"no usable link: {first_line(error)}") from None
        except httpx.HTTPError as error:
            self._failed(host, 0.0)
            raise Unanswered(f"{type(error).__name__}: {first_line(error)}") from None
        except Unanswered as error:
            self._failed(host, error.seconds)
            raise
        except Refused:
            self._failures[host] = 0
            raise
        else:
            self._failures[host] = 0

    def _wait(self, address: str) -> str:
        """Wait until the address's server may be asked; returns its name."""
        try:
            url = httpx.URL(address)
            name = url.host
        except (*UNUSABLE, ValueError) as error:
            raise Refused(f"no usable link: {first_line(error)}") from None
        if url.userinfo:
            raise Refused("no usable link: it holds a password")
        if url.scheme not in ("http", "https") or not name:
            raise Refused("no usable link: expected http:// or https://")
        host = f"{name}:{url.port}"
        if self._failures[host] >= GIVE_UP:
            raise Unanswered(f"{name} has failed {GIVE_UP} times in a row")
        if (seconds := self._not_before.get(host, 0.0) - time.monotonic()) > 0:
            time.sleep(seconds)
        return host

    def _failed(self, host: str, seconds: float) -> None:
        with self._lock:
            self._failures[host] += 1
            if seconds:
                self._not_before[host] = max(self._not_before.get(host, 0.0), time.monotonic() + seconds)


def persistently(act: Callable[[], T], progressed: Callable[[], bool] = lambda: False) -> T:
    """Try until there is an answer, at most TRIES times in a row without progress.

    Args:
        act: one try.
        progressed: whether the last try has brought anything, though it failed: then the count starts anew.

    Raises:
        Refused: the answer is final.
        Unanswered: of the last try.
    """
    tries = 0

    def enough(_: RetryCallState) -> bool:
        nonlocal tries
        tries = 1 if progressed() else tries + 1
        return tries >= TRIES

    def pause(state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome else None
        asked = failure.seconds if isinstance(failure, Unanswered) else 0.0
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2**tries)
        return max(asked, random.uniform(longest / 2, longest))

    retrying = Retrying(retry=retry_if_exception_type(Unanswered), stop=enough, wait=pause, reraise=True)
    return retrying(act)


def _judge(response: httpx.Response) -> None:
    """Raises Refused or Unanswered where an answer is not a good one."""
    code = response.status_code
    if code in BUSY:
        raise Unanswered(f"HTTP {code}", _retry_after(response))
    if code in GONE:
        raise Absent(f"dead link: HTTP {code}")
    if code >= 400 and code != 416:
        raise Refused(f"dead link: HTTP {code}")


def _retry_after(response: httpx.Response) -> float:
    """Seconds that a server asks to wait, at most LONGEST_WAIT."""
    told = response.headers.get("Retry-After", "")
    try:
        seconds = float(told) if told.isdecimal() else parsedate_to_datetime(told).timestamp() - time.time()
    except (ValueError, TypeError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT)
