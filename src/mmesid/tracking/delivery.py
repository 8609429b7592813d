"""When journals are sent, and what becomes of one that cannot be: live ones by a child process, others all at once.

A journal that is damaged, or that MLflow does not take, holds up no other; only a store that cannot be used ends a
delivery.
"""

import select
import sys
import time
from pathlib import Path
from typing import NamedTuple

from mmesid.errors import MmesidError, faults, first_line, without_secret
from mmesid.tracking import journal
from mmesid.tracking.journal import DamagedError
from mmesid.tracking.run import warn
from mmesid.tracking.sending import Sender, tracking_uri

BATCH_SECONDS = 2.0  # between two sendings
# A stage that succeeds faster leaves its journal to a later one, or to `report`: importing mlflow takes a core for
# seconds, which a short training feels.
DEFER_SECONDS = 60.0


class Delivery(NamedTuple):
    """What has become of the journals whose stages are over."""

    sent: int
    refused: list[str]  # a line for each reason for which some stay pending


def send_pending(root: Path = Path()) -> int:
    """Send every journal whose stage is over. Returns how many were sent; a server that is down is one warning."""
    sent, refused = deliver(root)
    for line in refused:
        warn(line)
    return sent


def deliver(root: Path = Path()) -> Delivery:
    """Send every journal whose stage is over. One that is damaged is put aside, with a warning that names it."""
    sent, refused = 0, []
    for path in journal.pending(root):
        try:
            sent += _send(path, root)
        except Exception as problem:
            refused.append(_unsent(root, problem))
            if isinstance(problem, MmesidError) or is_unreachable(problem):  # the others would fare no better
                break
    return Delivery(sent, list(dict.fromkeys(refused)))


def _send(path: Path, root: Path) -> bool:
    """Whether a journal was sent: one that another process holds is left alone, and a damaged one put aside."""
    with journal.abandoned(path) as free:
        if not free:
            return False
        try:
            Sender(path, root).send(over=True)
        except DamagedError as problem:
            warn(f"{problem}; it is put aside as {journal.put_aside(path).name}, and the others are sent")
            return False
        return True


def _unsent(root: Path, problem: Exception) -> str:
    """One line, without the password that an address may hold."""
    if isinstance(problem, DamagedError):
        return f"{problem}; `mmesid log` puts it aside"
    if isinstance(problem, MmesidError):
        return f"{problem}; the log is kept, and `mmesid log` sends it later"
    if faults.is_of_disk(problem):
        return f"{faults.sentence(problem)}; the log waits, and `mmesid log` sends it later"
    text = f"{tracking_uri(root)} does not take the log ({type(problem).__name__}: {first_line(problem)})"
    return f"{without_secret(text)}; it is kept, and `mmesid log` sends it later"


def follow(path: Path, root: Path) -> None:
    """Send the journal of a running stage until the stage is over, which ends this process's standard input."""
    started, failed, over = time.monotonic(), False, False
    sender = Sender(path, root)
    while not over:
        over = bool(select.select([sys.stdin], [], [], BATCH_SECONDS)[0])
        if time.monotonic() - started < DEFER_SECONDS:
            if over and _leaves_it_to_a_later_stage(path):
                return
            if not over:
                continue
        try:
            sender.send(over)
            failed = False
        except Exception as problem:
            if not failed:
                warn(_unsent(root, problem))
            failed = True
    if not failed:
        send_pending(root)


def _leaves_it_to_a_later_stage(path: Path) -> bool:
    """Whether a stage that was over before mlflow was even imported went well; a failed one is sent at once."""
    try:
        entries, _ = journal.read(path)
    except DamagedError:
        return True
    return bool(entries[-1].get("end") == "FINISHED")


def is_unreachable(error: BaseException | None) -> bool:
    """Whether an error says that the tracking server does not answer, which may pass, and nothing else.

    What an error was raised from counts, unless it was raised `from None`: it is a mistake then, which stays one.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        kind = f"{type(error).__module__}.{type(error).__name__}"
        if kind.startswith(("requests.", "urllib3.", "httpx.")) and ("Connect" in kind or "Timeout" in kind):
            return True
        if isinstance(error, ConnectionError | TimeoutError) or kind.endswith(".OperationalError"):
            return True
        if kind.startswith("mlflow.") and any(phrase in str(error) for phrase in _DOWN):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


_DOWN = ("Max retries exceeded", "Connection refused", "Read timed out", "too many 50", "error code 50")
