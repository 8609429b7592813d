"""Encoders from a hub: a download says how far it is, loading says nothing."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest
import transformers.utils.hub

from mmesid.artifacts import hub_bars
from mmesid.encoders import text_model
from tests.encoders.test_text_model import settings


class Hub(BaseHTTPRequestHandler):
    """A hub of one model, whose files lie in `folder`."""

    folder: Path

    def do_GET(self) -> None:
        path = self.folder / self.path.rpartition("/")[2]
        is_there = "/resolve/" in self.path and path.is_file()
        content = path.read_bytes() if is_there else b""
        self.send_response(200 if is_there else 404)
        self.send_header("X-Repo-Commit", "c" * 40)
        self.send_header("ETag", f'"{path.name}"')
        self.send_header("Content-Length", str(len(content)))
        if not is_there:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *message: object) -> None:
        """Nothing."""


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bert: Path) -> Iterator[None]:
    """A hub on this machine, an empty cache, and the hub's own bars switched off, as on the command line."""
    Hub.folder = tiny_bert
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        values = {
            "ENDPOINT": url,
            "HUGGINGFACE_CO_URL_TEMPLATE": f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(tmp_path),
        }
        for name, value in values.items():
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)  # one that is kept has read the constants already
        yield
        server.shutdown()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_download_of_weights_says_how_far_it_is(
    shop: None, is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    monkeypatch.setattr(hub_bars, "BAR_SECONDS", 0.0)
    monkeypatch.setattr(hub_bars, "LINE_SECONDS", 0.0)
    assert text_model.load(settings("shop/reader"), 3, "cpu").revision == "c" * 40
    said = capsys.readouterr().err
    line = r"^model\.safetensors: 0\.0 of 0\.0 MB$" if not is_terminal else r"model\.safetensors: .*%"
    assert re.search(line, said, re.MULTILINE), said
    assert is_terminal or "\r" not in said
    assert "Loading" not in said
    text_model.load(settings("shop/reader"), 3, "cpu")
    assert "model.safetensors" not in capsys.readouterr().err
