"""A server of files on loopback that fails in every way that servers do; and what it was asked."""

import hashlib
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

PIECE = 4096


class Page(NamedTuple):
    """What lies at a path, and how it is given."""

    content: bytes = b""
    kind: str = "application/octet-stream"
    status: int = 200
    location: str = ""  # of a redirect
    cut: int = 0  # bytes after which each of the first answers breaks off
    busy: int = 0  # first answers that are 503
    fails: int = 0  # first answers that are cut
    hangs: bool = False  # sends headers and nothing more
    seconds: float = 0.0  # between two pieces of 4 KiB
    ranges: bool = True
    head: bool = True  # else 405
    etag: bool = True
    head_says: tuple[bool, bool] = (True, True)  # ETag; the content's length, else 0
    sized: bool = True  # tells its length
    packing: str = ""  # Content-Encoding
    moody: bool = False  # another ETag in each answer
    told: int | None = None  # Content-Length, where it is not the content's


class Server:
    """Pages by path, to be changed while it runs; `asked` counts requests by path, `sent` bytes."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.url = ""
        self.released = threading.Event()  # ends what hangs


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    faulty: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        if body:
            self.faulty.asked[path] += 1
        number, page = self.faulty.asked[path], self.faulty.pages.get(path)
        if page is None:
            return self._end(404)
        if not body and not page.head:
            return self._end(405)
        if body and number <= page.busy:
            return self._end(503, {"Retry-After": "0"})
        if page.location:
            return self._end(302, {"Location": page.location})
        if page.status not in (200, 206):
            return self._end(page.status)
        return self._send(path, page, body, number)

    def _send(self, path: str, page: Page, body: bool, number: int) -> None:
        tag = f'"{uuid.uuid4() if page.moody else hashlib.md5(page.content).hexdigest()}"'
        names_version, tells_length = (True, True) if body else page.head_says
        start, asked = 0, self.headers.get("Range", "")
        if asked and page.ranges and self.headers.get("If-Range", tag) == tag:
            self.faulty.ranges.append(asked)
            start = int(re.findall(r"\d+", asked)[0])
        content = page.content[start:]
        self.send_response(206 if start else page.status)
        self.send_header("Content-Type", page.kind)
        told = len(content) if page.told is None else page.told
        if page.sized:
            self.send_header("Content-Length", str(told if tells_length else 0))
        else:
            self.close_connection = True
        if page.packing:
            self.send_header("Content-Encoding", page.packing)
        if page.etag and names_version:
            self.send_header("ETag", tag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(page.content) - 1}/{len(page.content)}")
        self.end_headers()
        if page.hangs:
            self.wfile.flush()
            self.faulty.released.wait(30)
            self.close_connection = True
            return
        end = page.cut if number <= page.fails else len(content)
        for place in range(0, end if body else 0, PIECE):
            piece = content[place : min(place + PIECE, end)]
            self.wfile.write(piece)
            self.faulty.sent[path] += len(piece)
            time.sleep(page.seconds)
        self.close_connection = end < len(content) or not page.sized

    def _end(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()


class QuietServer(ThreadingHTTPServer):
    """Clients that break off are no error here."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[Server]:
    """A server until the end of the block."""
    faulty = Server()
    handler = type("Bound", (Handler,), {"faulty": faulty})
    with QuietServer(("127.0.0.1", 0), handler) as http:
        faulty.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield faulty
        finally:
            faulty.released.set()
            http.shutdown()
            thread.join()
