"""Which flow runs of this checkout are alive: each holds a lock on a file of its own while its process lives."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from mmesid.host import hold, is_free


def folder(root: Path) -> Path:
    """Where the files lie; a file is named after its flow run."""
    return root.absolute() / "mlruns" / "flows"


@contextmanager
def present(root: Path, flow_run: str) -> Iterator[None]:
    """Hold this flow run's lock; its file stays only where the flow run does not end by itself."""
    lock = _lock(root, flow_run)
    with hold(lock):
        server = {"api": os.environ.get("PREFECT_API_URL", "")}
        lock.with_suffix(".json").write_text(json.dumps(server), encoding="utf-8")
        yield
        forget(root, flow_run)


def forget(root: Path, flow_run: str) -> None:
    """Delete a flow run's files: the server knows how it ended."""
    for suffix in (".json", ".lock"):
        _lock(root, flow_run).with_suffix(suffix).unlink(missing_ok=True)


def registered(root: Path) -> list[UUID]:
    """Flow runs that have begun and whose end the server may not know: those at work, and those that were killed."""
    return [UUID(path.stem) for path in sorted(folder(root).glob("*.lock"))]


def is_registered(root: Path, flow_run: str) -> bool:
    """Whether a flow run has begun here, and its end is not known yet."""
    return _lock(root, flow_run).exists()


def is_alive(root: Path, flow_run: str) -> bool:
    """Whether a flow run's process lives; False for one that is not registered."""
    return not is_free(_lock(root, flow_run))


def _lock(root: Path, flow_run: str) -> Path:
    return folder(root) / f"{flow_run}.lock"
