"""Servers as children of one process: started, asked whether they answer, watched, and stopped together.

Every child, and all that it starts, carries `MMESID_SERVICES=<the project's folder>` in its environment, by which it
is found and ended, even where a SIGKILL has made it an orphan.
"""

import os
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import NamedTuple

from mmesid.errors import ServiceError, without_secret
from mmesid.host import die_with_parent
from mmesid.servers import processes

GRACE = 10.0  # seconds that all services together have to end by themselves
LEAST = 1.0  # that the last of them has, however long the others took
TAIL = 15  # lines of a dead service's log that the error repeats


class Service(NamedTuple):
    """A command that runs until it is stopped."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    ready: Callable[[], bool]  # whether it answers
    seconds: float = 300.0  # within which it must


class Services:
    """The running services. As a context it stops them all, however it is left."""

    def __init__(self, root: Path, say: Callable[[str], object]) -> None:
        self._root, self._say = root.absolute(), say
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._watcher = -1

    def __enter__(self) -> "Services":
        if left := processes.end(self.mark(), GRACE):
            self._say(f"ended {left} processes that a killed `mmesid up` had left")
        self._watcher = processes.watch_over(self.mark(), GRACE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def mark(self, **more: str) -> dict[str, str]:
        """The variables by which this checkout's services are known."""
        return {"MMESID_SERVICES": str(self._root), **more}

    def log(self, name: str) -> Path:
        """Where a service's output goes; the one before it has `.1` at its end."""
        return self._root / "mlruns" / "services" / f"{name}.log"

    def start(self, service: Service) -> None:
        """Start one; `wait` tells when it answers."""
        log = self.log(service.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as file:
            self._running[service.name] = subprocess.Popen(
                service.command,
                cwd=self._root,
                env={**service.environment, **self.mark(MMESID_SERVICE=service.name)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches this process alone
                preexec_fn=partial(die_with_parent, signal.SIGTERM),
            )

    def wait(self, service: Service) -> None:
        """Wait until a service answers.

        Raises:
            ServiceError: it, or another one, has ended, or it takes too long.
        """
        until = time.monotonic() + service.seconds
        while not service.ready():
            self.check()
            if time.monotonic() > until:
                raise ServiceError(
                    f"{service.name} does not answer after {service.seconds:.0f} s{self._last(service.name)}"
                )
            time.sleep(0.5)
        self._say(f"{service.name} answers")

    def run(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        """Run a command to its end.

        Raises:
            ServiceError: it failed, or a service has ended meanwhile.
        """
        self.start(Service(name, command, environment, lambda: True))
        process = self._running.pop(name)
        while (status := process.poll()) is None:
            self.check()
            time.sleep(0.2)
        if status:
            raise ServiceError(f"{name} failed with status {status}{self._last(name)}")

    def check(self) -> None:
        """Raises ServiceError with the last lines of a service that has ended."""
        for name, process in self._running.items():
            if (status := process.poll()) is not None:
                raise ServiceError(f"{name} has ended with status {status}{self._last(name)}")

    def watch(self) -> None:
        """Until one ends."""
        while True:
            self.check()
            time.sleep(0.5)

    def stop(self) -> None:
        """End all, those that need the others first: the worker and the flows that it has started.

        A second Ctrl-C leaves no orphans either: it kills at once.
        """
        hurried = False

        def hurry(number: int, frame: FrameType | None) -> None:
            nonlocal hurried
            hurried = True

        def end(mark: Mapping[str, str]) -> None:
            grace = 0.0 if hurried else max(LEAST, until - time.monotonic())
            processes.end(mark, grace, self._collect, lambda: hurried)

        until = time.monotonic() + GRACE
        handlers = {number: signal.signal(number, hurry) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for name in reversed(self._running):
                end(self.mark(MMESID_SERVICE=name))
            end(self.mark())
            os.close(self._watcher)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _collect(self) -> None:
        for process in self._running.values():
            process.poll()

    def _last(self, name: str) -> str:
        log = self.log(name)
        with log.open(encoding="utf-8", errors="replace") as file:
            lines = deque((line.rstrip() for line in file if line.strip()), TAIL)
        return without_secret("\n  ".join([f"; {log} ends with:", *lines]))


def check_ports(host: str, ports: Mapping[str, int]) -> None:
    """Every port must be free, before anything starts.

    Args:
        host: address to listen at.
        ports: option -> port.

    Raises:
        ServiceError: one is taken or named twice, or the host is none of this machine's addresses.
    """
    if len(set(ports.values())) < len(ports):
        raise ServiceError(f"{' and '.join(ports)} name the same port: choose two")
    for option, port in ports.items():
        try:
            kind = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(kind[0], kind[1]) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(kind[4])
        except socket.gaierror:
            raise ServiceError(f"--host {host}: no such address") from None
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ServiceError(f"{option} {port} at {host}: {reason}; name another with {option}") from None
