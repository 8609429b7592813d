"""`mmesid serve DATASET`: the champion behind MLflow's scoring server.

POST /invocations takes {"inputs": [{"history": ["a", "b"]}], "params": {"k": 10}}; a history or k without an answer
gets 400 and the reason. The champion of the moment is served: after a promotion, start it again.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType

from mmesid import registry, tracking
from mmesid.errors import ServiceError
from mmesid.host import die_with_parent
from mmesid.servers import processes
from mmesid.servers.access import is_loopback
from mmesid.servers.options import bracketed
from mmesid.servers.services import check_ports
from mmesid.serving import SCORING
from mmesid.serving.http.scoring import MODEL

TIMEOUT = "60"  # seconds that MLflow lets one request take
GRACE = 8  # seconds that requests at work have to be answered, once the server shall end
LEAST = 2  # seconds that it has after them


def serve(dataset: str, root: Path, host: str, port: int, workers: int) -> None:
    """Check, then run MLflow's server until Ctrl-C.

    Raises:
        ServiceError: the host is not loopback, the port is taken, or the server has ended by itself.
        RegistryError: the dataset has no champion, or its files are lost.
    """
    model = check(dataset, host, port, root)
    sys.stdout.write(f"{model} at http://{bracketed(host)}:{port}/invocations; Ctrl-C ends it\n")
    sys.stdout.flush()
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": tracking.tracking_uri(root),
        "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": TIMEOUT,
        MODEL: model,
    }
    status = run_until_interrupted(command(host, port, workers), environment, root)
    if status is None:
        sys.stdout.write("stopped\n")
    else:
        raise ServiceError(f"MLflow's scoring server has ended with status {status}; what it said stands above")


def run_until_interrupted(words: Sequence[str], environment: Mapping[str, str], root: Path) -> int | None:
    """Run a server until it ends, or until Ctrl-C ends it: the first lets it answer what it was asked, a second one
    kills it at once.

    Returns:
        Its exit status; None where it was interrupted.
    """
    interrupts = 0

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += 1
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM if interrupts == 1 else signal.SIGKILL)
        if interrupts == 1:
            raise KeyboardInterrupt

    dying = partial(die_with_parent, signal.SIGTERM)
    with subprocess.Popen(words, cwd=root, env=environment, start_new_session=True, preexec_fn=dying) as server:
        processes.take_ends(interrupt)
        try:
            return server.wait()
        except KeyboardInterrupt:
            with suppress(subprocess.TimeoutExpired):
                server.wait(GRACE + LEAST)
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
    return None


def check(dataset: str, host: str, port: int, root: Path) -> str:
    """Whatever can be known to fail, before the server starts. Returns the address of the champion of the moment.

    Raises:
        ServiceError: the host is not loopback, or the port is taken.
        RegistryError: the dataset has no champion, or its files are lost.
    """
    if not is_loopback(host):
        raise ServiceError(
            f"--host {host} can be reached by others, and MLflow's scoring server has no authentication: serve on "
            "loopback and put a proxy that has it in front of it"
        )
    check_ports(host, {"--port": port})
    champion = registry.champion_of(dataset, root)
    registry.check_files(tracking.client(root), champion, "champion", thorough=True)
    return f"models:/{champion.name}/{champion.version}"


def command(host: str, port: int, workers: int) -> list[str]:
    """The server's command. It is uvicorn's own process: what stands between would die of a signal that it waits on."""
    options = ["--host", host, "--port", str(port), "--workers", str(workers)]
    place = ["--app-dir", str(SCORING.parent), "--factory", f"{SCORING.stem}:app"]
    return [sys.executable, "-m", "uvicorn", *options, "--timeout-graceful-shutdown", str(GRACE), *place]
