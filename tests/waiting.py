"""Waiting for what another process does."""

import time
from collections.abc import Callable


def wait_until(holds: Callable[[], object], seconds: float = 20) -> None:
    """Fails where it does not hold within seconds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
