"""What a kill or a full disk can leave half-written that is not ours to write: DVC's notes of what ran and runs.

DVC writes `dvc.lock`, and who reads what now, in place, so a SIGKILL in that moment, or a disk that is full then,
leaves them empty or cut short, and every later `dvc` command refuses to work. An entry of its run cache is written
in a folder of its own and gets its name when it is whole, but DVC reads the newest file there, whatever its name: one
that a kill cut short, or a folder that it left empty, ends with `failed to reproduce ...: 'outs'` or `join() argument
must be str`, again and again.

Nothing is lost by putting them aside: DVC's run cache holds every finished stage and restores it in seconds, and what
reads and writes the project says so anew with its next stage. A merge conflict in `dvc.lock` is no such thing: both
sides are whole, and a person chooses.
"""

import json
import time
from contextlib import suppress
from pathlib import Path

import yaml

from mmesid.config.loading import conflict_line
from mmesid.errors import PipelineError
from mmesid.host import take_lock

GUARD = Path(".dvc", "tmp", "lock")  # of DVC: who holds it may write `dvc.lock`
RESOLVE = "resolve it, or `git checkout HEAD dvc.lock` takes HEAD's side; then the same again"
CONFLICT = "holds a merge conflict"
ASIDE = "dvc.lock.broken"
RWLOCK = Path(".dvc", "tmp", "rwlock")  # of DVC: which process reads and writes which output
RUNS, UNFINISHED = "runs/*/*", ".*.tmp"  # in DVC's cache: folders of the run cache, and an entry that is not whole yet
WRITING = 2.0  # seconds in which a dvc that lives has written such an entry to its end, many times over


def mend(root: Path = Path()) -> list[str]:
    """Put a damaged `dvc.lock` aside, remove a damaged `.dvc/tmp/rwlock` and unfinished entries of the run cache.

    Args:
        root: the project's folder.

    Returns:
        What was done.

    Raises:
        PipelineError: `dvc.lock` holds a merge conflict; it stays as it is.
    """
    done = []
    if lock_fault(root) and (fault := _put_lock_aside(root)):
        done.append(f"dvc.lock {fault}, as a kill leaves it; it lies now in {ASIDE}, and DVC restores finished stages")
    if rwlock_fault(root) and _drop_rwlock(root):
        done.append(f"{RWLOCK} was cut short, as a full disk or a kill leaves it; it is removed, and nothing is lost")
    if dropped := _drop_unfinished(root):
        done.append(f"DVC's run cache: entries that a kill left unfinished are removed ({dropped})")
    return done


def check_conflict(root: Path = Path()) -> None:
    """Raises PipelineError where `dvc.lock` holds a merge conflict."""
    if lock_fault(root) == CONFLICT:
        raise PipelineError(f"dvc.lock {CONFLICT}: {RESOLVE}")


def _put_lock_aside(root: Path) -> str | None:
    """What was wrong with `dvc.lock`; None where a dvc works here, which empties it for a moment when it writes it."""
    (root / GUARD).parent.mkdir(parents=True, exist_ok=True)
    with (root / GUARD).open("a") as guard:
        if not take_lock(guard, wait=False):
            return None
        fault = lock_fault(root)
        check_conflict(root)
        if fault:
            (root / "dvc.lock").replace(root / ASIDE)
        return fault


def rwlock_fault(root: Path = Path()) -> str | None:
    """What is wrong with DVC's record of who reads and writes, None if it is whole or absent."""
    path = root / RWLOCK
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return "is cut short"
    return None


def _drop_rwlock(root: Path) -> bool:
    """Whether it was damaged, and not only read while a dvc that works here was writing it."""
    from dvc.lock import LockError, make_lock

    guard = (root / RWLOCK).with_name("rwlock.lock")
    try:
        with make_lock(str(guard), tmp_dir=str(guard.parent)):
            if rwlock_fault(root) is None:
                return False
            (root / RWLOCK).unlink()
            return True
    except LockError:
        return False


def unfinished(root: Path = Path()) -> list[Path]:
    """Folders of DVC's run cache that are empty, or hold an entry that is not written to its end.

    No folder where `.dvc/config` cannot be read, which DVC says itself.
    """
    from dvc.config import Config, ConfigError

    try:
        settings = Config(str(root.absolute() / ".dvc"))
    except ConfigError:
        return []
    folders = Path(settings["cache"].get("dir") or root / ".dvc" / "cache").glob(RUNS)
    return sorted(
        folder for folder in folders if folder.is_dir() and (any(folder.glob(UNFINISHED)) or not any(folder.iterdir()))
    )


def _drop_unfinished(root: Path) -> int:
    """How many were mended; what another dvc is writing, of a checkout that shares the cache, is soon whole."""
    before = unfinished(root)
    if before:
        time.sleep(WRITING)
    left = [folder for folder in unfinished(root) if folder in before]
    for folder in left:
        for path in folder.glob(UNFINISHED):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # whole entries are in it
            folder.rmdir()
    return len(left)


def lock_fault(root: Path = Path()) -> str | None:
    """What is wrong with `dvc.lock`, None if it is whole or absent."""
    path = root / "dvc.lock"
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        if conflict_line(text):
            return CONFLICT
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError):
        return "is cut short"
    if content is None:
        return "is empty"
    return None if _fits(content) else "is cut short"


def _fits(content: object) -> bool:
    """Whether DVC takes what is YAML, as half a file may be, for a lock."""
    from dvc.exceptions import DvcException
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.strictyaml import validate

    try:
        validate(content, COMPILED_LOCKFILE_SCHEMA)
    except DvcException:
        return False
    return True
