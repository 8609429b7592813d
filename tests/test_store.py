"""Whether MLflow's store can be used, and what happens to its places where a folder moves."""

import os
import shutil
import sqlite3
import ssl
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mmesid import host, tracking
from mmesid.errors import TrackingError
from mmesid.tracking import moving, store
from mmesid.tracking.delivery import is_unreachable
from tests import faulty

DEAD = faulty.NOBODY


@pytest.mark.parametrize(
    ("uri", "said", "may_pass"),
    [
        (f"http://me:secret@{DEAD}", "does not answer", True),
        (f"postgresql://me:secret@{DEAD}/x", "does not answer", True),
        ("runs", "keeps no runs in folders", False),
        ("file:///runs", "keeps no runs in folders", False),
        ("htp://there", "the scheme 'htp'", False),
        ("postgresql+nothing://me:secret@there/x", "cannot be used", False),
    ],
)
def test_a_store_that_cannot_be_used_is_said_at_once(
    uri: str, said: str, may_pass: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match=said) as caught:
        store.reach(uri)
    assert str(caught.value).startswith("MLFLOW_TRACKING_URI")
    assert "secret" not in str(caught.value)
    assert is_unreachable(caught.value) is may_pass


@pytest.mark.parametrize(
    ("status", "page", "said", "may_pass"),
    [
        (404, b"", r"not as MLflow does \(status 404\): correct MLFLOW_TRACKING_URI", False),
        (200, b"<html>", r"not as MLflow does \(status 200\)", False),
        (200, b'{"detail": "welcome"}', r"not as MLflow does \(status 200\)", False),
        (401, b"", r"\(status 401\): set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD", False),
        (403, b"", r"\(status 403\): set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD", False),
        (503, b"", "status 503; look at the server's log", True),
    ],
)
def test_a_server_whose_health_is_fine_is_asked_what_only_mlflow_answers(
    status: int, page: bytes, said: str, may_pass: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with faulty.other_server("at", "http://{}", status, 200, page)(tmp_path) as found:
        with pytest.raises(TrackingError, match=said) as caught:
            store.reach(found["at"])
        assert is_unreachable(caught.value) is may_pass


def test_a_server_that_answers_as_mlflow_does_is_reached(tmp_path: Path) -> None:
    for page in (b"{}", b'{"experiments": [], "next_page_token": "1"}'):
        with faulty.other_server("at", "http://{}/", 200, 404, page)(tmp_path) as found:
            store.reach(found["at"])


def behind_a_certificate(folder: Path) -> ThreadingHTTPServer:
    """A server that answers as MLflow does, whose certificate nobody but `folder/own.pem` vouches for."""
    files = folder / "key.pem", folder / "own.pem"
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *named]
    subprocess.run([*command, "-keyout", files[0], "-out", files[1]], check=True, capture_output=True)

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

    server = ThreadingHTTPServer(("localhost", 0), Page)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes a certificate")
def test_a_certificate_is_believed_where_mlflow_believes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_INSECURE_TLS", *store.CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
    with behind_a_certificate(tmp_path) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"https://localhost:{server.server_port}"
        with pytest.raises(TrackingError, match="certificate verify failed"):
            store.reach(uri)
        for name, value in (("MLFLOW_TRACKING_INSECURE_TLS", "true"), ("REQUESTS_CA_BUNDLE", f"{tmp_path}/own.pem")):
            with monkeypatch.context() as patched:
                patched.setenv(name, value)
                store.reach(uri)
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", "/not/there.pem")
        with pytest.raises(TrackingError, match="MLFLOW_TRACKING_SERVER_CERT_PATH names cannot be read"):
            store.reach(uri)
        server.shutdown()


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_AUTH"])
def test_a_login_that_only_mlflow_can_use_is_left_to_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "true")
    with faulty.other_server("at", "http://{}", 403)(tmp_path) as found:
        store.reach(found["at"])


def test_a_server_that_hangs_is_given_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SECONDS", 0.2)
    with faulty.hanging("at", "http://{}")(tmp_path) as found, pytest.raises(TrackingError, match="does not answer"):
        store.reach(found["at"])


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that even root cannot write to")
@pytest.mark.parametrize("path", ["/dev/null/a/x.db", "/proc/x.db", "/proc/a/x.db"])
def test_a_database_that_cannot_be_made_is_said_at_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"sqlite:///{path}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match=r"^MLFLOW_TRACKING_URI.* cannot be made \(/(proc|dev/null): ") as caught:
        store.reach(uri)
    assert not is_unreachable(caught.value)


def test_a_database_that_is_locked_or_damaged_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SECONDS", 0.1)
    path = tmp_path / "x.db"
    sqlite3.connect(path).executescript("CREATE TABLE a (b); INSERT INTO a VALUES (1)")
    store.reach(f"sqlite:///{path}")
    with faulty.locked("x.db")(tmp_path), pytest.raises(TrackingError, match="is locked") as caught:
        store.reach(f"sqlite:///{path}")
    assert is_unreachable(caught.value)
    faulty.garbage(path)
    with pytest.raises(TrackingError, match="is damaged") as caught:
        store.reach(f"sqlite:///{path}")
    assert not is_unreachable(caught.value)


def test_a_database_that_cannot_be_opened_is_a_mistake_and_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="cannot be opened") as caught:
        store.reach(f"sqlite:///{tmp_path}")  # a folder
    assert not is_unreachable(caught.value)


def test_a_database_that_is_not_there_yet_is_no_fault(tmp_path: Path) -> None:
    store.reach(f"sqlite:///{tmp_path / 'new.db'}")
    store.reach(f"sqlite:///{tmp_path / 'a folder' / 'that MLflow makes' / 'new.db'}")
    assert not list(tmp_path.iterdir())


def test_a_database_that_can_only_be_read_is_no_fault_of_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    sqlite3.connect(path).executescript("CREATE TABLE a (b)")
    assert host.unwritable(path) == ""
    monkeypatch.setattr(os, "access", lambda place, mode: mode == os.F_OK or Path(place) != path)  # root may write
    assert host.unwritable(path) == f"{path} is read-only"
    store.reach(f"sqlite:///{path}")


def world(folder: Path, place: Callable[[Path], str], database: Path | None = None) -> Path:
    """A folder with a database like MLflow's, whose experiment lies below it."""
    (folder / "mlruns" / "artifacts" / "toys" / "1" / "artifacts").mkdir(parents=True)
    connection = sqlite3.connect(database or folder / "mlruns" / "mlflow.db")
    connection.execute("CREATE TABLE experiments (artifact_location)")
    connection.execute("CREATE TABLE runs (artifact_uri)")
    connection.execute("CREATE TABLE tags (key, value)")
    artifacts = place(folder / "mlruns" / "artifacts" / "toys")
    connection.execute("INSERT INTO experiments VALUES (?)", (artifacts,))
    connection.execute("INSERT INTO runs VALUES (?)", (f"{artifacts}/1/artifacts",))
    connection.execute("INSERT INTO tags VALUES ('mmesid.checkout', ?)", (moving.checkout_of(folder),))
    connection.commit()
    connection.close()
    return folder


def read(folder: Path, query: str, database: Path | None = None) -> str:
    connection = sqlite3.connect(database or folder / "mlruns" / "mlflow.db")
    ((value,),) = connection.execute(query)
    connection.close()
    return str(value)


@pytest.mark.parametrize("place", [Path.as_uri, str], ids=["as an address", "as a path"])
def test_a_folder_that_moves_takes_its_places_along(tmp_path: Path, place: Callable[[Path], str]) -> None:
    old = world(tmp_path / "a folder", place)
    assert moving.settle(old / "mlruns") == []
    new = old.rename(tmp_path / "another one")
    assert moving.settle(new / "mlruns") == [str(old / "mlruns")]
    assert read(new, "SELECT artifact_location FROM experiments") == place(new / "mlruns" / "artifacts" / "toys")
    assert read(new, "SELECT artifact_uri FROM runs").startswith(place(new / "mlruns"))
    assert read(new, "SELECT value FROM tags") == moving.checkout_of(new)
    assert moving.settle(new / "mlruns") == []


def test_an_experiment_that_a_person_keeps_elsewhere_stays_there(tmp_path: Path) -> None:
    other = tmp_path / "other" / "mlruns" / "artifacts" / "mine"
    other.mkdir(parents=True)
    here = world(tmp_path / "here", lambda artifacts: other.as_uri())
    assert moving.settle(here / "mlruns") == []
    assert read(here, "SELECT artifact_location FROM experiments") == other.as_uri()


def test_a_chosen_place_that_is_not_mounted_now_stays_chosen(tmp_path: Path) -> None:
    away = (tmp_path / "mnt" / "mlruns" / "artifacts" / "mine").as_uri()
    here = world(tmp_path / "here", lambda artifacts: away)
    assert moving.settle(here / "mlruns") == []
    assert read(here, "SELECT artifact_location FROM experiments") == away


def test_a_folder_without_artifacts_takes_its_places_along(tmp_path: Path) -> None:
    old = world(tmp_path / "old", Path.as_uri)
    shutil.rmtree(old / "mlruns" / "artifacts")
    new = old.rename(tmp_path / "new")
    assert moving.settle(new / "mlruns") == [str(old / "mlruns")]


@pytest.mark.parametrize("name", ["b?x", "b%20x"])
def test_a_folder_that_no_address_can_name_is_refused_before_anything_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackingError, match=r"rename the folder, or set MLFLOW_TRACKING_URI$"):
        tracking.reach(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/x.db")
    tracking.reach(tmp_path / name)


def test_the_file_of_an_address_is_the_one_that_sqlalchemy_opens() -> None:
    assert store.sqlite_path("sqlite:////a%20b/x.db?timeout=1") == Path("/a%20b/x.db")


@pytest.mark.parametrize("place", [Path.as_uri, str], ids=["as an address", "as a path"])
def test_a_database_elsewhere_follows_a_folder_that_moves(tmp_path: Path, place: Callable[[Path], str]) -> None:
    database = tmp_path / "elsewhere.db"
    uri = f"sqlite:///{database}"
    old = world(tmp_path / "a folder", place, database)
    assert moving.settle_elsewhere(uri, old / "mlruns") == []
    new = old.rename(tmp_path / "another one")
    assert moving.settle_elsewhere(uri, new / "mlruns") == [str(old / "mlruns")]
    at = place(new / "mlruns" / "artifacts" / "toys")
    assert read(new, "SELECT artifact_location FROM experiments", database) == at
    assert read(new, "SELECT artifact_uri FROM runs", database) == f"{at}/1/artifacts"
    assert read(new, "SELECT value FROM tags", database) == moving.checkout_of(new)
    assert moving.settle_elsewhere(uri, new / "mlruns") == []


def test_a_database_elsewhere_stays_with_its_folder(tmp_path: Path) -> None:
    """It may be shared with a copy of it, and with machines that do not see the folder at all."""
    database = tmp_path / "elsewhere.db"
    uri = f"sqlite:///{database}"
    old = world(tmp_path / "theirs", str, database)
    copied = tmp_path / "copy"
    shutil.copytree(old, copied)
    assert moving.settle_elsewhere(uri, copied / "mlruns") == []
    shutil.rmtree(old)
    shutil.rmtree(copied / "mlruns" / "artifacts" / "toys" / "1")  # another's experiment of the same name
    assert moving.settle_elsewhere(uri, copied / "mlruns") == []
    assert read(old, "SELECT artifact_location FROM experiments", database) == f"{old}/mlruns/artifacts/toys"
