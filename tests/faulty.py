"""Faults of the outside, each for the time of a block: servers that refuse, hang or are others, files that are broken.

A fault is a context manager that takes a project's folder and yields the environment under which a command meets it.
"""

import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

from mmesid.tracking.journal import Journal
from tests import ports

Environment = dict[str, str]
Fault = Callable[[Path], AbstractContextManager[Environment]]
NOBODY = "127.0.0.1:9"  # a port at which nothing listens
HANG = 599  # a status that is never sent
HOLD = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], 60); c.execute('BEGIN EXCLUSIVE'); print(1, flush=True); "
    "input()"
)


def set_to(name: str, value: str) -> Fault:
    """A variable with a value that is the fault."""

    @contextmanager
    def fault(root: Path) -> Iterator[Environment]:
        yield {name: value.replace("ROOT", str(root))}

    return fault


def hanging(name: str, form: str) -> Fault:
    """A server that takes connections and never answers."""

    @contextmanager
    def fault(root: Path) -> Iterator[Environment]:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(64)
            yield {name: form.format(f"127.0.0.1:{listener.getsockname()[1]}")}

    return fault


def other_server(name: str, form: str, status: int, health: int = 0, page: bytes = b"<html>else</html>") -> Fault:
    """A server that answers everything with a page of its own; with another status where it is asked for its health."""

    over = Event()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if status == HANG and not self.path.endswith("/health"):
                over.wait()
            self.send_response(health if health and self.path.endswith("/health") else status)
            self.end_headers()
            self.wfile.write(page)

        do_POST = do_PATCH = do_GET  # noqa: N815

        def log_message(self, *given: object) -> None:
            """Nothing."""

    @contextmanager
    def fault(root: Path) -> Iterator[Environment]:
        (port,) = ports.free(1)
        with ThreadingHTTPServer(("127.0.0.1", port), Page) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            yield {name: form.format(f"127.0.0.1:{port}")}
            over.set()
            server.shutdown()

    return fault


def database(change: Callable[[Path], object], place: str = "mlruns/mlflow.db") -> Fault:
    """A database of this folder that a change has spoiled; it is sound again afterwards."""

    @contextmanager
    def fault(root: Path) -> Iterator[Environment]:
        path = root / place
        with kept(path):
            path.parent.mkdir(exist_ok=True)
            change(path)
            yield {}

    return fault


@contextmanager
def kept(path: Path) -> Iterator[None]:
    """Whatever happens to a file or folder, it is as before afterwards. The copy lies elsewhere, lest it be counted."""
    with TemporaryDirectory() as elsewhere:
        copy = Path(elsewhere) / path.name
        if path.exists():
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, copy)
        try:
            yield
        finally:
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            if copy.exists():
                shutil.move(copy, path)


def at_version(revision: str) -> Callable[[Path], object]:
    """The database says that another version of its program has written it."""

    def change(path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32))")
        if not connection.execute("UPDATE alembic_version SET version_num = ?", (revision,)).rowcount:
            connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
        connection.commit()
        connection.close()

    return change


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database, whatever its name says" * 100)


def cut_short(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def locked(place: str) -> Fault:
    """Another process holds a database of this folder."""

    @contextmanager
    def fault(root: Path) -> Iterator[Environment]:
        (root / place).parent.mkdir(exist_ok=True)
        command = [sys.executable, "-c", HOLD, str(root / place)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            yield {}
            holder.communicate("\n")

    return fault


def spoiled(find: Callable[[Path], Path], change: Callable[[Path], object]) -> Fault:
    """A file or folder of the project that a change has spoiled."""

    @contextmanager
    def fault(root: Path) -> Iterator[Environment]:
        path = find(root)
        with kept(path):
            change(path)
            yield {}

    return fault


def into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@contextmanager
def unsent(root: Path) -> Iterator[Environment]:
    """The journal of a stage that is over waits, and nobody takes it."""
    book = Journal(
        root, "unsent", "sample.prepare", {"dataset": "sample", "stage": "prepare", "tags": {}, "digest": ""}
    )
    book.close()
    yield {"MLFLOW_TRACKING_URI": f"http://{NOBODY}"}
    book.path.unlink()


def into_conflict(path: Path) -> None:
    text = path.read_text(encoding="utf-8") if path.exists() else "schema: '2.0'\n"
    path.write_text(f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n", encoding="utf-8")


def into_file(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.write_text("in the place of a folder")


@contextmanager
def no_room_for_records(root: Path) -> Iterator[Environment]:
    """Version 2, the same model, is champion and version 1 the one before; no decision on them can be recorded."""
    with database(_second_champion)(root), closing(sqlite3.connect(root / "mlruns" / "mlflow.db")) as connection:
        query = "SELECT artifact_uri FROM runs JOIN model_versions ON run_id = run_uuid"
        (uri,) = connection.execute(query).fetchone()
        with spoiled(lambda _: Path(uri.removeprefix("file://"), "decisions"), into_file)(root):
            yield {}


def _second_champion(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("model_versions", "model_version_tags"):
            cursor = connection.execute(f"SELECT * FROM {table} WHERE version = 1")
            names = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                copy = [2 if name == "version" else value for name, value in zip(names, row, strict=True)]
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(copy))})", copy)
        connection.execute("UPDATE registered_model_aliases SET version = 2 WHERE alias = 'champion'")
        connection.execute(
            "INSERT INTO registered_model_aliases (name, alias, version) "
            "SELECT name, 'previous', 1 FROM registered_model_aliases WHERE alias = 'champion'"
        )


def model_folder(root: Path) -> Path:
    """Where the files of the only model lie; MLflow is not asked: its connections outlive a swapped database."""
    (folder,) = root.glob("mlruns/artifacts/*/models/*/artifacts")
    return folder


@contextmanager
def full_disk(root: Path) -> Iterator[Environment]:
    """No file may grow beyond a few bytes, and the model must be written anew."""
    with spoiled(model_folder, shutil.rmtree)(root):
        yield {"FILE_SIZE": "5000"}


def largest(folder: Path) -> Path:
    """The largest file below a folder: its weights."""
    return max((path for path in folder.rglob("*.safetensors")), key=lambda path: path.stat().st_size)
