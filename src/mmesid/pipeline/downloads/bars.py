"""How far downloads are, on stderr: a bar for each on a terminal, a plain line every ten seconds elsewhere."""

import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_SECONDS = 10.0


class Bars:
    """To be used in `with`; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._printed = time.monotonic()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
            self._bars = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, name: str, done: int, total: int | None, unit: str) -> None:
        """Say how far a download is.

        Args:
            name: of the file, or `pictures`.
            done: so far.
            total: None where nobody knows.
            unit: `MB` counts bytes, anything else is counted as it is.
        """
        with self._lock:
            text = _text(done, total, unit)
            if self._bars is not None:
                if name not in self._tasks:
                    self._tasks[name] = self._bars.add_task(name, total=total, text="")
                self._bars.update(self._tasks[name], completed=done, text=text)
            elif time.monotonic() - self._printed >= LINE_SECONDS:
                self._printed = time.monotonic()
                sys.stderr.write(f"{name}: {text}\n")
                sys.stderr.flush()


def _text(done: int, total: int | None, unit: str) -> str:
    if unit == "MB":
        return f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB" if total else f"{done / 1e6:,.1f} MB"
    return f"{done:,} of {total:,} {unit}" if total else f"{done:,} {unit}"
