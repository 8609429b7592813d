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
    """Be alive, as this flow run."""
    lock = folder(root) / f"{flow_run}.lock"
    with hold(lock):
        where = {"api": os.environ.get("PREFECT_API_URL", "")}
        lock.with_suffix(".json").write_text(json.dumps(where), encoding="utf-8")
        yield
        forget(root, flow_run)


def forget(root: Path, flow_run: str) -> None:
    """Its end is known to the server."""
    for suffix in (".json", ".lock"):
        (folder(root) / f"{flow_run}{suffix}").unlink(missing_ok=True)


def known(root: Path) -> list[UUID]:
    """Flow runs that have said that they are alive, and not that they end; a killed one is among them for good."""
    return [UUID(path.stem) for path in sorted(folder(root).glob("*.lock"))]


def is_known(root: Path, flow_run: str) -> bool:
    """Whether it has ever said that it is alive, and has not ended since."""
    return (folder(root) / f"{flow_run}.lock").exists()


def is_alive(root: Path, flow_run: str) -> bool:
    """Whether its process lives; of one that is not known, no."""
    return not is_free(folder(root) / f"{flow_run}.lock")
