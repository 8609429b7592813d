"""Fetching from a server that fails in every way: what is whole is never fetched again, what is not is continued."""

import gzip
import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from mmesid.artifacts.pictures import decode
from mmesid.artifacts.releases import Announced
from mmesid.errors import DataError
from mmesid.pipeline.downloads import asking, bars, files, pictures
from mmesid.pipeline.downloads.cache import Cache, home
from tests.amazon_files import picture
from tests.faulty_pages import Page, Server, serving

CONTENT = np.random.default_rng(0).bytes(300_000)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for long."""
    monkeypatch.setattr(asking, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(asking, "READ_SECONDS", 0.5)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "downloads")


def announced(server: Server, path: str = "/file") -> Announced:
    page = server.pages[path]
    with asking.Asker(1) as asker, asker.answer(server.url + path, method="HEAD") as response:
        return Announced(path[1:], len(page.content), files.version_of(response))


def fetch(server: Server, cache: Cache, said: Announced | None = None) -> bytes:
    (kept,) = files.fetch_all([(f"{server.url}/file", said or announced(server))], cache, 2)
    return kept.path.read_bytes()


@pytest.mark.parametrize(
    ("page", "requests"),
    [
        (Page(CONTENT), 1),
        (Page(CONTENT, etag=False), 1),
        (Page(CONTENT, cut=100_000, fails=2), 3),
        (Page(CONTENT, busy=2), 3),
        (Page(CONTENT, cut=100_000, fails=1, ranges=False), 2),
    ],
    ids=["plain", "no version", "cut twice", "busy twice", "cut, no ranges"],
)
def test_a_file_comes_whole(page: Page, requests: int, server: Server, cache: Cache) -> None:
    server.pages["/file"] = page
    assert fetch(server, cache) == CONTENT
    assert server.asked["/file"] == requests
    assert fetch(server, cache) == CONTENT
    assert server.asked["/file"] == requests, "what is whole is not asked for again"


def test_a_cut_download_is_continued_where_it_ended(server: Server, cache: Cache) -> None:
    server.pages["/file"] = Page(CONTENT, cut=99 * 1024, fails=1)
    assert fetch(server, cache) == CONTENT
    assert server.ranges == [f"bytes={99 * 1024}-"]
    assert server.sent["/file"] == len(CONTENT)


def test_progress_starts_the_count_of_tries_anew(server: Server, cache: Cache) -> None:
    server.pages["/file"] = Page(CONTENT, cut=20_000, fails=12)
    assert fetch(server, cache) == CONTENT
    assert server.asked["/file"] > asking.TRIES


def test_a_server_that_stays_busy_is_named(server: Server, cache: Cache) -> None:
    server.pages["/file"] = Page(CONTENT, busy=100)
    with pytest.raises(DataError, match="cannot be fetched: HTTP 503"):
        fetch(server, cache)
    assert server.asked["/file"] == asking.TRIES


def test_a_file_that_changed_meanwhile_is_refused(server: Server, cache: Cache) -> None:
    server.pages["/file"] = Page(CONTENT)
    said = announced(server)
    server.pages["/file"] = Page(CONTENT[::-1])
    with pytest.raises(DataError, match="changed since it was recorded"):
        fetch(server, cache, said)


@pytest.mark.parametrize(
    "page",
    [Page(CONTENT, head_says=(False, True)), Page(CONTENT, head_says=(True, False)), Page(CONTENT, head=False)],
    ids=["no version", "no length", "no HEAD"],
)
def test_where_head_says_too_little_a_get_says_it(page: Page, server: Server, cache: Cache) -> None:
    server.pages["/file"] = page
    with asking.Asker(1) as asker:
        said = files.look(asker, f"{server.url}/file", "file")
    server.pages["/file"] = Page(CONTENT)
    assert said == announced(server)
    server.pages["/file"] = page
    assert fetch(server, cache, said) == CONTENT


def test_a_server_that_names_another_version_each_time_is_named(server: Server, cache: Cache) -> None:
    server.pages["/file"] = Page(CONTENT, moody=True)
    with pytest.raises(DataError, match="names another version at each request"):
        fetch(server, cache)


def test_a_part_of_another_version_is_not_continued(server: Server, cache: Cache) -> None:
    server.pages["/file"] = Page(CONTENT, cut=99 * 1024, fails=100)
    said = announced(server)
    server.pages["/file"] = Page(CONTENT, cut=50, fails=100)
    with pytest.raises(DataError):
        fetch(server, cache, said._replace(bytes=None, version="of old"))
    server.pages["/file"] = Page(CONTENT[::-1])
    assert fetch(server, cache) == CONTENT[::-1]


def test_content_that_was_damaged_in_the_cache_is_fetched_again(server: Server, cache: Cache) -> None:
    server.pages["/file"] = Page(CONTENT)
    fetch(server, cache)
    kept = cache.find(f"{server.url}/file")
    assert kept is not None
    kept.path.write_bytes(CONTENT[:-1] + b"?")
    assert fetch(server, cache) == CONTENT
    assert server.asked["/file"] == 2


def test_another_size_is_other_content_where_a_server_names_no_version(server: Server, cache: Cache) -> None:
    for content in (CONTENT, CONTENT[:-1]):
        server.pages["/file"] = Page(content, etag=False)
        assert fetch(server, cache) == content


def test_a_part_without_a_version_is_begun_anew(server: Server, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TRIES", 1)
    server.pages["/file"] = Page(CONTENT, etag=False, cut=99 * 1024, fails=1)
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch(server, cache)
    server.pages["/file"] = Page(CONTENT[::-1], etag=False)
    assert fetch(server, cache) == CONTENT[::-1], "no half of either"
    assert not server.ranges


def test_a_folder_of_downloads_may_lie_in_ones_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMESID_DOWNLOADS", "~/downloads")
    assert home() == Path.home() / "downloads"


def test_a_page_where_gzip_was_expected_is_no_file(server: Server, cache: Cache) -> None:
    server.pages["/file"] = Page(b"<html>please log in</html>", "text/html")
    said = announced(server)._replace(path="reviews.json.gz")
    with pytest.raises(DataError, match="what came is no gzip file"):
        fetch(server, cache, said)


def test_two_who_fetch_the_same_ask_once(server: Server, cache: Cache) -> None:
    server.pages["/file"] = Page(CONTENT, seconds=0.002)
    said, found = announced(server), []
    threads = [threading.Thread(target=lambda: found.append(fetch(server, cache, said))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 3
    assert server.asked["/file"] == 1


def animated(kind: str) -> bytes:
    frames, out = [Image.open(io.BytesIO(picture(seed, "PNG"))) for seed in (1, 2)], io.BytesIO()
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    return out.getvalue()


GOOD: dict[str, bytes] = {
    "jpeg": picture(0),
    "png": picture(0, "PNG", "RGBA"),
    "gif": picture(0, "GIF", "L"),
    "webp": picture(0, "WEBP"),
    "cmyk": picture(0, "JPEG", "CMYK"),
    "animated gif": animated("GIF"),
    "animated webp": animated("WEBP"),
}


@pytest.mark.parametrize("kind", GOOD)
def test_a_picture_of_any_kind_is_fetched_and_opens(kind: str, server: Server, cache: Cache) -> None:
    server.pages["/picture"] = Page(GOOD[kind], "image/any", busy=1)
    server.pages["/moved"] = Page(location="/picture")
    fetched = pictures.fetch_pictures([f"{server.url}/moved", f"{server.url}/moved"], cache, 2)
    assert fetched.pictures == {f"{server.url}/moved": GOOD[kind]}
    assert decode(GOOD[kind]).mode == "RGB"
    again = pictures.fetch_pictures([f"{server.url}/moved"], cache, 2)
    assert (again.pictures, again.requested) == (fetched.pictures, 0)


@pytest.mark.parametrize(
    "page",
    [Page(gzip.compress(GOOD["jpeg"]), packing="gzip"), Page(GOOD["jpeg"], sized=False)],
    ids=["packed", "no length"],
)
def test_a_picture_comes_however_it_is_sent(page: Page, server: Server, cache: Cache) -> None:
    server.pages["/picture"] = page
    (found,) = pictures.fetch_pictures([f"{server.url}/picture"], cache, 1).pictures.values()
    assert found == GOOD["jpeg"]


BAD: dict[str, tuple[Page, str]] = {
    "dead": (Page(status=404), "dead link: HTTP 404"),
    "gone": (Page(status=410), "dead link: HTTP 410"),
    "loop": (Page(location="/picture"), "no usable link"),
    "elsewhere": (Page(location="ftp://127.0.0.1/picture"), "no usable link"),
    "html": (Page(b"<html>none</html>", "text/html; charset=utf-8"), "a page instead of a picture"),
    "html in disguise": (Page(b"\n <!DOCTYPE html>", "image/jpeg"), "a page instead of a picture"),
    "text": (Page(b"not found", "text/plain"), "no picture: it begins with"),
    "empty": (Page(b"", "image/jpeg"), "an empty answer"),
    "huge": (Page(GOOD["jpeg"], "image/jpeg", told=10**9), "too large: 1,000 MB"),
    "huge, untold": (Page(GOOD["jpeg"] + bytes(pictures.MAX_BYTES), "image/jpeg"), "too large"),
    "hangs": (Page(GOOD["jpeg"], "image/jpeg", hangs=True), "no answer: ReadTimeout"),
    "cut": (Page(GOOD["jpeg"], "image/jpeg", cut=100, fails=99), "no answer: RemoteProtocolError"),
    "a part": (Page(GOOD["jpeg"][:100], "image/jpeg", status=206), "a part instead of a picture"),
    "told too short": (Page(GOOD["jpeg"], "image/jpeg", told=200), "a damaged picture: "),
    "cut, untold": (Page(GOOD["jpeg"], cut=200, fails=99, sized=False), "no answer: a picture that breaks off"),
    "busy": (Page(GOOD["jpeg"], "image/jpeg", busy=99), "no answer: HTTP 503"),
}
UNANSWERED = ("hangs", "cut", "cut, untold", "busy")


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_picture_says_why(kind: str, server: Server, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TRIES", 2)
    page, why = BAD[kind]
    server.pages |= {"/picture": page, "/good": Page(GOOD["jpeg"], "image/jpeg")}
    links = [f"{server.url}/good", f"{server.url}/picture"]
    fetched = pictures.fetch_pictures(links, cache, 2)
    assert fetched.pictures[links[0]] == GOOD["jpeg"]
    assert str(fetched.pictures[links[1]]).startswith(why)
    assert fetched.unanswered == (kind in UNANSWERED)
    if kind not in (*UNANSWERED, "loop"):
        assert server.asked["/picture"] <= 1, "an answer is final"
    server.pages["/picture"] = Page(GOOD["png"], "image/png")
    again = pictures.fetch_pictures(links, cache, 2)
    assert again.pictures == {links[0]: GOOD["jpeg"], links[1]: GOOD["png"]}
    assert (again.requested, server.asked["/good"]) == (1, 1), "only what is missing is asked for"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_is_shown(
    is_terminal: bool, server: Server, cache: Cache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    monkeypatch.setattr(bars, "LINE_SECONDS", 0.0)
    server.pages |= {"/file": Page(CONTENT), "/picture": Page(GOOD["png"])}
    fetch(server, cache)
    pictures.fetch_pictures([f"{server.url}/picture"], cache, 1)
    said = capsys.readouterr().err
    assert is_terminal or re.search(r"file: 0\.3 of 0\.3 MB\n(.*\n)*pictures: 1 of 1 pictures", said)


NAMELESS = ("http://a..b/x.jpg", f"http://{'a' * 64}.com/x.jpg", "http://xn--/x.jpg")  # no names of servers


@pytest.mark.parametrize("link", NAMELESS)
def test_a_redirect_to_no_server_is_one_picture_less(link: str, server: Server, cache: Cache) -> None:
    server.pages |= {"/moved": Page(location=link), "/good": Page(GOOD["jpeg"])}
    links = [f"{server.url}/moved", f"{server.url}/good"]
    moved, good = pictures.fetch_pictures(links, cache, 1).pictures.values()
    assert str(moved).startswith("no usable link")
    assert good == GOOD["jpeg"]


@pytest.mark.parametrize(
    "link",
    [
        "http://user:secret@127.0.0.1/a.jpg",
        "ftp://host/a.jpg",
        "a.jpg",
        "",
        "http://",
        "http://[::1/a.jpg",
        "file:///etc/passwd",
        *NAMELESS,
    ],
)
def test_links_that_are_none_ask_nobody(link: str, cache: Cache) -> None:
    assert str(pictures.fetch_pictures([link], cache, 1).pictures[link]).startswith("no usable link")


def test_a_server_that_is_down_is_soon_left_alone_and_named(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "GIVE_UP", 6)
    with serving() as gone:
        url = gone.url
    links = [f"{url}/{number}.jpg" for number in range(50)]
    fetched = pictures.fetch_pictures(links, cache, 2)
    assert fetched.unanswered == 50
    with pytest.raises(DataError, match=r"50 of 50 pictures had no answer, more than ingest.max_unanswered"):
        pictures.check_answered(fetched, 0.01)
    pictures.check_answered(fetched, 1.0)


def test_a_busy_server_is_left_in_peace_for_as_long_as_it_asks() -> None:
    class Answer:
        def __init__(self, told: str) -> None:
            self.headers: Any = {"Retry-After": told}

    told = ("7", "100000", "soon", "", "²", "Wed, 21 Oct 2015 07:28:00 GMT")
    assert [asking._retry_after(Answer(value)) for value in told] == [7, 60, 0, 0, 0, 0]  # type: ignore[arg-type]


def test_a_length_that_is_no_number_is_unknown() -> None:
    answer = httpx.Response(200, headers=[(b"Content-Length", "²".encode("latin-1"))])
    assert files._announced(answer, "file").bytes is None
    pictures._check_kind(answer)
