"""Requests a second and their latency through the champion's HTTP endpoint, one user's history in each.

`python -m benchmarks.serving [--project FOLDER] [--dataset NAME] [--seconds S] [--quick] [--output FILE]`. It starts
`mmesid serve` in a project whose dataset has a champion, and asks for the ten best items from the same machine.

- closed: each of some connections asks again as soon as it is answered; this is what the endpoint can do
- open: requests come at a fixed rate, whether the ones before are answered or not; a request's latency counts from the
  moment at which it was due, so that one that has to wait is not flattered

In the result a is the closed loop's rate and b the rate that is demanded. The load comes from the same cores.
"""

import argparse
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import measure
from mmesid.artifacts.prepare import load_items, load_sequences
from mmesid.artifacts.store import Store

NAME = "serving"
RATE = 50.0  # requests a second that are demanded
CONNECTIONS = {"closed": 4, "open": 32}
SECONDS, WARMUP = 30.0, 3.0  # of each loop, and of the one before them that does not count
QUICK = (1.0, 0.5)
START_SECONDS = 300.0
K = 10


class Loop(NamedTuple):
    """What one way of asking has seen."""

    seconds: float
    latencies: list[float]  # seconds, one for each request, in the order of the answers


def main(given: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print, write."""
    parser = argparse.ArgumentParser(prog=f"benchmarks.{NAME}", description=__doc__)
    parser.add_argument("--project", type=Path, default=measure.ROOT, help="whose registry holds the champion")
    parser.add_argument("--dataset", default="sample")
    parser.add_argument("--workers", type=int, default=1, help="processes that answer")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each loop")
    measure.add_options(parser)
    options = parser.parse_args(given)
    seconds, warmup = QUICK if options.quick else (options.seconds, WARMUP)
    bodies = requests(options.project, options.dataset)
    with served(options.project, options.dataset, options.workers) as port:
        ask(port, bodies, warmup, CONNECTIONS["closed"])
        loops = {
            "closed": ask(port, bodies, seconds, CONNECTIONS["closed"]),
            "open": ask(port, bodies, seconds, CONNECTIONS["open"], RATE),
        }
    measure.finish(result(loops, options.dataset, options.workers), options)


def result(loops: dict[str, Loop], dataset: str, workers: int) -> measure.Result:
    """Put both loops into one result."""
    summaries = {name: summary(loop) for name, loop in loops.items()}
    rows = [
        {"loop": name, "connections": CONNECTIONS[name], "requests": len(loop.latencies), **summaries[name]}
        for name, loop in loops.items()
    ]
    answered = summaries["closed"]["rate"]
    return {
        "name": NAME,
        "ratio": answered / RATE,
        "a": answered,
        "b": RATE,
        "a_is": "requests a second that are answered",
        "b_is": "requests a second that are demanded",
        "unit": "requests/s",
        "runs": 1,
        "machine": measure.machine(),
        "dataset": dataset,
        "workers": workers,
        "k": K,
        "loops": rows,
    }


def summary(loop: Loop) -> dict[str, float]:
    """Rate, and the latency of the slowest half, of the slowest five and of the slowest one in a hundred, in ms."""
    p50, p95, p99 = np.percentile(1000 * np.array(loop.latencies), [50, 95, 99]).tolist()
    return {"rate": len(loop.latencies) / loop.seconds, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


def requests(project: Path, dataset: str) -> list[bytes]:
    """The body of a request for each user of a dataset."""
    store = Store(dataset, project)
    item_ids = ["", *load_items(store)["item_id"].astype(str)]
    histories = [[item_ids[item] for item in items] for items in load_sequences(store).history("test")]
    bodies = [{"inputs": [{"history": history}], "params": {"k": K}} for history in histories]
    return [json.dumps(body).encode() for body in bodies]


def ask(port: int, bodies: Sequence[bytes], seconds: float, connections: int, rate: float | None = None) -> Loop:
    """Send requests for some seconds.

    Args:
        port: of the endpoint on this machine.
        bodies: taken in turn.
        seconds: after which no request is sent any more.
        connections: each has one request under way at most.
        rate: requests a second that fall due; without it one follows the other.

    Raises:
        RuntimeError: a request was not answered with 200.
    """
    numbers, lock = itertools.count(), threading.Lock()
    latencies: list[float] = []
    errors: list[str] = []
    begun = time.perf_counter()

    def work() -> None:
        with _connected(port) as send:
            while not errors:
                with lock:
                    number = next(numbers)
                due = time.perf_counter() if rate is None else begun + number / rate
                if due > begun + seconds:
                    return
                time.sleep(max(0.0, due - time.perf_counter()))
                status, text = send(bodies[number % len(bodies)])
                if status != 200:
                    errors.append(f"{status}: {text[:300].decode(errors='replace')}")
                latencies.append(time.perf_counter() - due)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise RuntimeError(f"a request was answered with {errors[0]}")
    return Loop(time.perf_counter() - begun, latencies)


@contextmanager
def served(project: Path, dataset: str, workers: int) -> Iterator[int]:
    """`mmesid serve` until the end of the block. Yields its port.

    Raises:
        RuntimeError: it ends, or does not answer in time.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    code = os.pathsep.join([str(measure.ROOT / "src"), str(measure.ROOT)])
    command = [sys.executable, "-m", "mmesid.commands.cli", "serve", dataset, "--port", str(port)]
    command += ["--workers", str(workers)]
    environment = {**os.environ, "PYTHONPATH": code}
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command, cwd=project, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        ) as server,
    ):
        try:
            if not _answers(port, server):
                log.seek(0)
                raise RuntimeError(f"the server does not answer:\n{log.read()[-2000:].decode(errors='replace')}")
            yield port
        finally:
            _end(server)


def _answers(port: int, server: "subprocess.Popen[bytes]") -> bool:
    """Wait until it does, or has ended, or START_SECONDS are over."""
    until = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except OSError:
            time.sleep(0.5)
        finally:
            connection.close()
    return False


@contextmanager
def _connected(port: int) -> Iterator[Callable[[bytes], tuple[int, bytes]]]:
    """A connection that is kept. Yields what sends a body and returns status and text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def send(body: bytes) -> tuple[int, bytes]:
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()

    try:
        yield send
    finally:
        connection.close()


def _end(server: "subprocess.Popen[bytes]") -> None:
    """Ask the server's session to end; what has not after that is made to."""
    for name in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, name)
            server.wait(15)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


if __name__ == "__main__":
    main()
