"""A training's progress on stderr: a bar on a terminal, a plain line every ten seconds elsewhere."""

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LINE_SECONDS = 10.0


class Progress:
    """Shows loss, targets per second and time left, from the keys "progress" (0..1), "targets" and "loss"."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._printed = time.monotonic()
        self._state: dict[str, float] = {}
        self._first: tuple[float, dict[str, float]] | None = None
        self._bar: tuple[RichProgress, TaskID] | None = None

    def update(self, metrics: Mapping[str, float]) -> None:
        """Take what a step has logged; without "progress" nothing is shown."""
        self._state.update({name: float(metrics[name]) for name in ("progress", "targets", "loss") if name in metrics})
        if "progress" not in metrics:
            return
        now = time.monotonic()
        started, first = self._first = self._first or (now, dict(self._state))
        if sys.stderr.isatty():
            self._draw(describe(self._state, first, now - started))
        elif now - self._printed >= LINE_SECONDS:
            self._printed = now
            text = describe(self._state, first, now - started)
            sys.stderr.write(f"{self._label}: {self._state['progress']:.0%}, {text}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Take the bar down."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None

    def _draw(self, text: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as RichProgress

        if self._bar is None:
            columns = (TextColumn(self._label), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[text]}"))
            bar = RichProgress(*columns, console=Console(stderr=True), transient=True)
            self._bar = bar, bar.add_task("", total=1.0, text="")
            bar.start()
        bar, task = self._bar
        bar.update(task, completed=self._state["progress"], text=text)


def describe(state: Mapping[str, float], first: Mapping[str, float], seconds: float) -> str:
    """`loss 5.12, 1,830 targets/s, 2:05 left`, as far as it is known.

    Args:
        state: last values of "progress" (0..1), "targets" (count so far) and "loss".
        first: the first such values, above zero where a training goes on after a kill.
        seconds: time since they came.
    """
    parts = []
    if "loss" in state:
        parts.append(f"loss {state['loss']:.4f}")
    if seconds > 0 and (targets := state.get("targets", 0.0) - first.get("targets", 0.0)):
        parts.append(f"{targets / seconds:,.0f} targets/s")
    if (done := state["progress"] - first["progress"]) > 0:
        left = round(seconds * (1 - state["progress"]) / done)
        parts.append(f"{left // 60}:{left % 60:02d} left")
    return ", ".join(parts) or "started"
