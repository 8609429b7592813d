"""Chromium without a window and without a network: whatever wants to leave this machine falls into a trap."""

import io
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from playwright.sync_api import Page, sync_playwright

NOWHERE = "http://127.0.0.1:9"
FLAGS = (  # beside Playwright's own, which turn off what they can
    "--no-sandbox",  # it runs as root in a container
    "--disable-gpu",
    "--disable-quic",
    f"--gaia-url={NOWHERE}",  # Chromium's own calls have no switch, but addresses
    f"--component-updater=url-source={NOWHERE}",
    f"--autofill-server-url={NOWHERE}",
)
SEEN_BEFORE = {  # what MLflow's pages greet a newcomer with, as if it had been closed
    "_mlflow_model_registry_promo_modal_dismissed_v1": "true",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.workflowType_v1": '"machine_learning"',
}
PATIENCE = 60_000  # milliseconds that a page has to show something


class Trap:
    """A proxy for everything but loopback, which answers nothing and remembers who asked for what."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closed
                return
            with connection:
                connection.settimeout(5)
                try:
                    self.heard.append(connection.recv(1000).partition(b"\r\n")[0].decode(errors="replace"))
                except OSError:
                    self.heard.append("a connection that said nothing")

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


class Window(NamedTuple):
    """A page, and what its browser has asked beyond this machine."""

    page: Page
    trap: Trap


@contextmanager
def opened() -> Iterator[Window]:
    """A page of Debian's Chromium, which asks loopback itself, and the trap for all else."""
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("Chromium is not installed; Debian's package: apt-get install chromium", pytrace=False)
    trap = Trap()
    with sync_playwright() as playwright:
        flags = [*FLAGS, f"--proxy-server={trap.address}"]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB", timezone_id="UTC")
        context.set_default_timeout(PATIENCE)
        context.add_init_script(f"Object.entries({json.dumps(SEEN_BEFORE)}).forEach(e => localStorage.setItem(...e))")
        yield Window(context.new_page(), trap)
        browser.close()
    trap.close()


def picture(page: Page, name: str) -> None:
    """Keep what the page shows, in 256 colors, where MMESID_SCREENSHOTS names a folder."""
    if folder := os.environ.get("MMESID_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        image = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
        image.quantize(256, dither=Image.Dither.NONE).save(Path(folder) / f"{name}.png", optimize=True)
