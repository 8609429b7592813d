"""How far a download of weights is, on stderr: a bar on a terminal, a plain line every ten seconds elsewhere."""

import sys
import time
from typing import Any

from tqdm import tqdm

BAR_SECONDS, LINE_SECONDS = 1.0, 10.0  # what is here sooner shows nothing


class Bar(tqdm):  # type: ignore[misc]
    """As `tqdm_class` of a hub's downloads; it shows whether or not the hub's own bars, and those of loading, do."""

    def __init__(self, *args: Any, **how: Any) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._printed = time.monotonic()
        self._name = str(how.pop("desc", None) or "download").rpartition("/")[2]
        self._unit = how.get("unit") or ""
        shown = {"desc": self._name, "disable": not self._is_terminal, "delay": BAR_SECONDS, "leave": False}
        super().__init__(*args, **{**how, **shown})

    def update(self, n: float | None = 1) -> bool | None:
        """Count what has come."""
        if self._is_terminal:
            shown: bool | None = super().update(n)
            return shown
        self.n += n or 0
        if time.monotonic() - self._printed >= LINE_SECONDS:
            self._printed = time.monotonic()
            sys.stderr.write(f"{self._name}: {self._text()}\n")
            sys.stderr.flush()
        return None

    def _text(self) -> str:
        scale, unit = (1e6, "MB") if self._unit == "B" else (1, self._unit)
        shown = [f"{count / scale:,.1f}" if scale > 1 else f"{count:,}" for count in (self.n, self.total) if count]
        return f"{' of '.join(shown)} {unit}"
