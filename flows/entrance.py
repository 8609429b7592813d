"""How a flow is started by hand: one line for whatever goes wrong, and the prompt soon after Ctrl-C."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from mmesid import host, tracking
from mmesid.errors import MmesidError, faults
from mmesid.pipeline.stage import StageError, end_stages
from mmesid.servers import processes, reachable

PATIENCE = 10.0  # seconds that an interrupted flow has to close its run


def enter(check: Callable[[], object], run: Callable[[], object], stopped: str) -> None:
    """Run a flow for a person at a terminal; a failure is one message and exit status 1.

    The first Ctrl-C ends the stage at work, closes the run and returns the prompt; a second one does not wait.

    Args:
        check: whatever can be known to fail; Prefect's server, which takes long to start, is not waited for then.
        run: the flow.
        stopped: what Ctrl-C leaves, in a line.
    """
    host.take_any_text()
    _say_it_once()
    ending = _Ending(stopped)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ending.begin)
    _Ending.of_this_process = ending
    try:
        check()
        reachable.check_prefect(Path())
        tracking.reach()
        run()
    except (StageError, MmesidError) as error:
        sys.exit(f"Error: {error}")
    except (KeyboardInterrupt, SystemExit):
        ending.finish()
    except Exception as error:
        if ending.begun:  # what an end amid a request looks like
            ending.finish()
        sys.exit(f"Error: {faults.tell(error)}")


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """In a flow that was started by hand SIGTERM, as of `timeout` or a service manager, does what Ctrl-C does.

    Prefect takes the signal for itself while a flow runs, and only raises an error wherever the process is then: one
    that is swallowed there, as in a destructor, ends nothing, and a model would still be promoted. A flow that a worker
    has started is left to Prefect, which kills what does not end.
    """
    if _Ending.of_this_process is None:
        yield
        return
    before = signal.signal(signal.SIGTERM, _Ending.of_this_process.begin)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Ending:
    """What Ctrl-C sets off."""

    of_this_process: "_Ending | None" = None  # of a flow that a person has started

    def __init__(self, line: str) -> None:
        self.line = line
        self.begun = self.told = False

    def begin(self, number: int, frame: FrameType | None) -> None:
        """A signal handler: the first time in order, the second time at once."""
        if self.begun:
            self._now()
        self.begun = True
        end_stages()
        logging.disable(logging.ERROR)  # what Prefect has to say about the end is the line at the end
        timer = threading.Timer(PATIENCE, self._now)
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    def finish(self) -> None:
        """The run is closed: one line, and the exit status of what was interrupted."""
        self.told = True
        sys.stderr.write(f"{self.line}\n")
        sys.stderr.flush()
        sys.exit(host.INTERRUPTED)

    def _now(self) -> None:
        """Leave no child behind, and wait for nothing."""
        end_stages(signal.SIGKILL)
        processes.kill_children()
        if not self.told:
            os.write(2, b"stopped\n")
        os._exit(host.INTERRUPTED)


def _say_it_once() -> None:
    """An error is told at the end, once, or its traceback kept in a file; Prefect's log repeats neither."""

    def without_traceback(record: logging.LogRecord) -> bool:
        if record.exc_info:
            record.exc_info = record.exc_text = None
            record.msg, record.args = "ended by an error, which is told below", ()
        return True

    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(without_traceback)
