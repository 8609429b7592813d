"""This machine, for every package here: locks, the end of a process, with its parent or by Ctrl-C, and its environment.

A lock lasts as long as the file that it was taken on is open: the kernel drops it at its holder's death, so whoever
holds one is alive, whatever its process number. `filelock` does not fit: it always creates the file that it locks, so
asking whether a lock is free would leave files behind and bring a journal back that has just been sent, and it opens a
file of its own, where a journal locks the very file that it writes.
"""

import ctypes
import fcntl
import getpass
import importlib.util
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

WAIT_SECONDS = 2.0  # between two tries to take a lock that is held for long, and before a person is told of any
POLL_SECONDS = 0.05  # between two tries to take one that is held for a moment
OF_FOLDER, MOMENT_SECONDS = ".lock", 60.0  # a folder's own lock, and how long its holder may take
LONG_SECONDS = 4 * 3600.0  # how long the holder of any other lock may take, unless it is stopped, as by Ctrl-Z
QUIET = {  # no package calls home; most read this only when they are imported
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
INTERRUPTED = 130  # exit status of what Ctrl-C has ended
OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


class HeldError(Exception):
    """Another process holds the lock; the message names it."""


@contextmanager
def scratch(inside: Path | None = None) -> Iterator[Path]:
    """A folder that is gone afterwards, for what does not fit memory or must be written anew to be read.

    Args:
        inside: the folder to make it in, where what is written shall be renamed to a place there.
    """
    with tempfile.TemporaryDirectory(prefix="mmesid-", dir=inside) as folder:
        yield Path(folder)


def take_lock(file: IO[Any], wait: bool = True) -> bool:
    """Lock an open file until it is closed. False, without waiting, where another holds it; OSError where none can."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        place = "a file system without locks, such as some network drives: work in a folder on a disk of this machine"
        raise OSError(f"{file.name} cannot be locked ({error.strerror}) on {place}") from None
    return True


@contextmanager
def locked(path: Path, error: type[Exception] = TimeoutError) -> Iterator[None]:
    """Wait for, then hold, a lock file; after two seconds stderr says for whom.

    A folder's own lock, a file named `.lock`, is held for moments: who keeps it for a minute is not waited for. Nor is
    who keeps another one for hours, or for a minute while it is stopped.

    Raises:
        error: another process keeps the lock; the message names both. It stems from a TimeoutError, as what may pass.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            _wait_for(file, path)
        except TimeoutError as late:
            raise error(str(late)) from late
        yield


def _wait_for(file: IO[Any], path: Path) -> None:
    started, told = time.monotonic(), False
    while not take_lock(file, wait=False):
        waited = time.monotonic() - started
        if waited > MOMENT_SECONDS and (path.name == OF_FOLDER or waited > LONG_SECONDS or _is_stopped(path)):
            remedy = "let it go on (`fg`), or end it," if _is_stopped(path) else "end it,"
            raise TimeoutError(f"{path} has been held for {waited:.0f} s by {holder(path)}: {remedy} and run again")
        if not told and waited > WAIT_SECONDS:
            sys.stderr.write(f"waiting for {path}, which is held by {holder(path)}\n")
            sys.stderr.flush()
            told = True
        time.sleep(POLL_SECONDS)


def holder(path: Path) -> str:
    """Who holds a lock file, by number and command: Linux knows it of any process, whatever it wrote into the file."""
    with suppress(OSError):
        if number := _holder_number(path):
            words = Path("/proc", number, "cmdline").read_bytes().decode(errors="replace").split("\0")
            shown = [word for word in words if "://" not in word]  # an address may hold a password
            return f"process {number} ({' '.join(shown[:5]).strip()})"
    return f"another process (`fuser {path}` names it)"


def _holder_number(path: Path) -> str:
    """Of the process that holds a lock file; empty where Linux does not tell it."""
    with suppress(OSError, ValueError):
        inode = str(path.stat().st_ino)
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            _, kind, _, _, number, place, *_ = line.split()
            if kind == "FLOCK" and place.rpartition(":")[2] == inode:
                return number
    return ""


def _is_stopped(path: Path) -> bool:
    """Whether the process that holds a lock file is stopped, as by Ctrl-Z."""
    with suppress(OSError):
        if number := _holder_number(path):
            state = Path("/proc", number, "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
            return state.split()[0] in ("T", "t")
    return False


@contextmanager
def hold(path: Path, wait: Callable[[str], object] | None = None) -> Iterator[None]:
    """Hold a lock file for long: its text names the holder.

    Args:
        path: of the file.
        wait: called once with the holder's name, before waiting for it; without it, a held lock is an error.

    Raises:
        HeldError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        is_waiting = False
        while not take_lock(file, wait=False):
            file.seek(0)
            holder = file.read() or "starting"
            if wait is None:
                raise HeldError(holder)
            if not is_waiting:
                wait(holder)
                is_waiting = True
            time.sleep(WAIT_SECONDS)
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def is_free(path: Path, patience: float = 0.0) -> bool:
    """Whether nobody holds the lock, or lets go of it within seconds; a file that does not exist is free."""
    last = time.monotonic() + patience
    try:
        with path.open("rb") as file:
            while not (free := take_lock(file, wait=False)) and time.monotonic() < last:
                time.sleep(POLL_SECONDS)
            return free
    except FileNotFoundError:
        return True


def die_with_parent(with_signal: int = signal.SIGKILL) -> None:
    """On Linux, the kernel signals this process when the thread that started it ends. Serves as a `preexec_fn`."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, with_signal)


def cores() -> int:
    """Of this machine, for this process: those that the system and a launcher leave it."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, allowed // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def is_launched() -> bool:
    """Whether a launcher such as torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def unwritable(path: Path) -> str:
    """What keeps a file from being made or changed, empty if nothing does; tried, since root may write all but /proc.

    Folders that are missing are not made: the nearest that is there is tried, with a file that has no name.
    """
    folder = next(each for each in path.absolute().parents if os.access(each, os.F_OK))
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as problem:
        return f"{folder}: {problem.strerror}"
    return f"{path} is read-only" if path.exists() and not os.access(path, os.W_OK) else ""


def unaddressable(path: Path) -> str:
    """What keeps the address of a sqlite database from naming a file, empty if nothing does."""
    if not (signs := [sign for sign in "?%" if sign in str(path)]):
        return ""
    return f"the address of a database takes no {' or '.join(signs)} in the name of a folder: rename the folder"


def outside_hooks() -> dict[str, str]:
    """This environment for a git that is asked about a folder: without what git tells its hooks and aliases of the
    repository that has called them, which would answer in the folder's place.
    """
    return {name: value for name, value in os.environ.items() if name not in OF_HOOKS}


def name_user() -> None:
    """Name who runs this by number where the system knows no name, as in many containers: DVC and MLflow want one."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())


def set_defaults(variables: Mapping[str, str]) -> None:
    """Set environment variables that are not set yet."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def spare_loopback(*hosts: str, variables: MutableMapping[str, str] = os.environ) -> None:
    """Let no proxy stand between the servers and clients of this machine, whatever the environment says about proxies.

    A SOCKS proxy for which no package is installed is left out: the clients would refuse even to start. `*`, which
    spares every host, is understood only where it stands alone.

    Args:
        hosts: other names under which servers of ours answer.
        variables: the environment to change.
    """
    proxies = [name for name in variables if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]
    if not proxies:
        return
    if importlib.util.find_spec("socksio") is None:
        for name in [name for name in proxies if variables[name].lower().startswith("socks")]:
            del variables[name]
    named = [name for name in ("no_proxy", "NO_PROXY") if variables.get(name)]
    spared = [host.strip() for name in named for host in variables[name].split(",") if host.strip()]
    wanted = ["*"] if "*" in spared else dict.fromkeys([*spared, *LOOPBACK, *hosts])
    variables["no_proxy"] = variables["NO_PROXY"] = ",".join(wanted)


def end_at_once(line: str) -> None:
    """From now on Ctrl-C ends this process with one line, even amid an import; not where it is ignored."""

    def end(number: int, frame: object) -> None:
        os.write(2, f"{line}\n".encode() if line else b"")
        os._exit(INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)


def raise_interrupts() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt again, for those who have something to end first."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def take_any_text() -> None:
    """Let a terminal or file that knows fewer characters get a question mark in their place, and no error.

    Where whoever started this process has closed standard output or error (`>&-`), what is written there is dropped;
    else the next file that is opened would get the number, and what children print.
    """
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            if (dropped := os.open(os.devnull, os.O_WRONLY)) != number:
                os.dup2(dropped, number)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def prefect_settings(root: Path) -> dict[str, str]:
    """What Prefect reads when it is imported.

    Args:
        root: the project's folder, which keeps all of Prefect's state.
    """
    return {
        **QUIET,
        "PREFECT_HOME": str(root.absolute() / ".prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # it needs 11-19 s; Prefect's own limit is 20 s
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }
