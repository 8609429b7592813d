"""A hub on this machine, which has one model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest
import transformers.utils.hub


class Hub(BaseHTTPRequestHandler):
    """A hub of one model, whose files lie in `folder`; while it fails, it gives nothing."""

    folder: Path
    fails = False
    asked = 0  # times, while it failed

    def do_GET(self) -> None:
        if Hub.fails:
            Hub.asked += 1
            self.send_error(500)
            return
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


@contextmanager
def hub_of(folder: Path, cache: Path) -> Iterator[None]:
    """The hub that libraries ask, with an empty cache; its own bars are switched off, as on the command line."""
    Hub.folder, Hub.fails, Hub.asked = folder, False, 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server, pytest.MonkeyPatch.context() as patch:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        values = {
            "ENDPOINT": url,
            "HUGGINGFACE_CO_URL_TEMPLATE": f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(cache),
        }
        for name, value in values.items():
            patch.setattr(huggingface_hub.constants, name, value)
        patch.setattr(transformers.utils.hub, "_hf_api", None)  # one that is kept has read the constants already
        yield
        server.shutdown()
