"""Debian's Postgres on loopback, in a folder of its own: started, killed and started again."""

import getpass
import os
import shutil
import signal
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from types import TracebackType

import psycopg2
import pytest

from mmesid.host import die_with_parent

PASSWORD = "hush-hush-hush"
NOBODY = "postgres"  # the user that Debian's package makes; Postgres refuses to run as root


class Postgres:
    """A server with an empty database; as a context it ends, and its folder is deleted."""

    def __init__(self, port: int) -> None:
        self.url = f"postgresql://admin:{PASSWORD}@127.0.0.1:{port}"
        self._port, self._binaries = port, binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="mmesid-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Postgres":
        word = self._folder / "word"
        word.write_text(PASSWORD, encoding="utf-8")
        for path in (self._folder, word):
            shutil.chown(path, user())
        options = ["--username", "admin", "--pwfile", str(word), "--auth", "scram-sha-256", "--no-sync"]
        done = self._as_user("initdb", "--pgdata", str(self._folder / "data"), *options)
        assert done.wait(60) == 0, self.log()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start, and wait until it lets somebody in: after a kill it first repairs itself."""
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(self._folder), "fsync": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._process = self._as_user("postgres", "-D", str(self._folder / "data"), "-p", str(self._port), *options)
        until = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < until, self.log()
            time.sleep(0.2)

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does: nothing is written to disk any more."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def log(self) -> str:
        """What it has said."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def _answers(self) -> bool:
        try:
            psycopg2.connect(f"{self.url}/postgres", connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _as_user(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        account = {"user": user(), "group": user(), "extra_groups": ()} if os.geteuid() == 0 else {}
        with (self._folder / "log").open("ab") as log:
            command = [str(self._binaries / name), *arguments]
            ends = partial(die_with_parent, signal.SIGQUIT)
            return subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, preexec_fn=ends, **account)


def user() -> str:
    """Whose processes they are."""
    return NOBODY if os.geteuid() == 0 else getpass.getuser()


def binaries() -> Path:
    """The folder of `initdb` and `postgres`: Debian keeps them away from PATH."""
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), *filter(None, [_on_path()])]
    if not found:
        pytest.fail("Postgres is not installed; Debian's package: apt-get install postgresql", pytrace=False)
    return found[-1]


def _on_path() -> Path | None:
    there = shutil.which("initdb")
    return Path(there).resolve().parent if there else None
