"""What a stage logs, first on disk: one append-only file per stage run, from which any tracker can be filled later.

A journal is `mlruns/journal/<execution>/<dataset>.<stage>.jsonl`, one JSON object a line: a `header`, then `metrics`,
`params`, `artifact` and at last an `end`. Its writer holds a lock on the file for as long as it lives, and the kernel
drops that lock at its death: a journal that can be locked and has no `end` belongs to a killed process.
"""

import contextlib
import itertools
import json
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmesid.artifacts.store import home
from mmesid.errors import TrackingError
from mmesid.host import locked, take_lock

Entry = dict[str, Any]
SENT, DAMAGED = ".sent", ".damaged"  # endings of journals that are put away
HEADER = {"id", "execution", "started", "dataset", "stage", "tags"}  # what each header has


class DamagedError(TrackingError):
    """A journal holds a line that no writer of ours has left: the disk or a crash has spoiled it."""


def now() -> int:
    """Milliseconds since the epoch, as MLflow counts them."""
    return int(time.time() * 1000)


def folder(root: Path = Path()) -> Path:
    """Where the journals of a checkout lie."""
    return mlruns(root) / "journal"


def mlruns(root: Path = Path()) -> Path:
    """What MLflow keeps of a checkout, and of its temporary copies, which DVC deletes after an experiment."""
    return home(root.absolute()) / "mlruns"


class Journal:
    """The writer's side. Every entry is flushed to the operating system before `append` returns."""

    def __init__(self, root: Path, execution: str, name: str, header: Entry) -> None:
        """Open `<name>.jsonl` or, if there is one, `<name>.2.jsonl` and so on; it appears with its header inside."""
        identity = uuid.uuid4().hex
        hidden = folder(root) / execution / f".{identity}"
        hidden.parent.mkdir(parents=True, exist_ok=True)
        self._file = hidden.open("ab")
        take_lock(self._file)
        self.append({"header": {"id": identity, "execution": execution, "started": now(), **header}})
        with locked(folder(root) / ".lock"):
            self.path = _free_name(hidden.parent, name)
            hidden.rename(self.path)

    def append(self, entry: Entry) -> None:
        """Write one entry; every entry but the header carries the time at which it was logged."""
        line = json.dumps({"time": now(), **entry}, ensure_ascii=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def keep(self, path: Path) -> None:
        """Keep a copy of an artifact beside the journal, so that a later run cannot change what this one logged."""
        copies = attachments(self.path)
        copies.mkdir(exist_ok=True)
        shutil.copyfile(path, copies / path.name)
        self.append({"artifact": path.name})

    def close(self) -> None:
        """Release the lock. What a full disk does not take is lost, and the file closed all the same."""
        with contextlib.suppress(OSError):
            self._file.close()


def attachments(path: Path) -> Path:
    """The folder that holds a journal's artifacts until they are sent."""
    return path.with_name(path.name.removesuffix(SENT).removesuffix(".jsonl") + ".files")


def read(path: Path, offset: int = 0) -> tuple[list[Entry], int]:
    """Entries from a byte offset on, and the offset after the last whole line: a killed writer leaves half of one.

    Raises:
        DamagedError: a whole line is no entry.
    """
    with path.open("rb") as file:
        file.seek(offset)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    return [_entry(path, line) for line in whole.split(b"\n")[:-1]], offset + len(whole)


def header(path: Path) -> Entry:
    """What the first line says of a journal; empty where it is damaged, or has just been put away."""
    with contextlib.suppress(OSError, DamagedError), path.open("rb") as file:
        return dict(_entry(path, file.readline()).get("header", {}))
    return {}


def pending(root: Path = Path()) -> list[Path]:
    """Journals that are not sent yet, oldest first, those of running stages included."""
    journals = []
    for path in folder(root).glob("*/*.jsonl"):
        with contextlib.suppress(FileNotFoundError):  # whoever sends it has just put it away
            journals.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(journals)]


def mark_sent(path: Path) -> None:
    """A sent journal keeps its text under another name; its copied artifacts are no longer needed."""
    path.rename(path.with_name(path.name + SENT))
    shutil.rmtree(attachments(path), ignore_errors=True)


def put_aside(path: Path) -> Path:
    """A damaged journal gets another name, under which nothing sends it. Returns it; its artifacts stay beside it."""
    aside = path.with_name(path.name + DAMAGED)
    path.rename(aside)
    return aside


@contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Hold a journal whose writer is gone. Yields False where the writer lives, or another process is sending it."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield False
        return
    with file:
        yield take_lock(file, wait=False) and path.exists()


def _free_name(parent: Path, name: str) -> Path:
    numbers = itertools.chain([""], (f".{number}" for number in itertools.count(2)))
    paths = (parent / f"{name}{number}.jsonl" for number in numbers)
    endings = ("", SENT, DAMAGED)
    return next(path for path in paths if not any(path.with_name(path.name + end).exists() for end in endings))


def _entry(path: Path, line: bytes) -> Entry:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or ("header" in entry and not _is_header(entry["header"])):
        raise DamagedError(f"{path} is damaged: it holds a line that is no entry of a journal")
    return entry


def _is_header(value: object) -> bool:
    return isinstance(value, dict) and value.keys() >= HEADER
