"""Whether MLflow's store can be used at all: asked in seconds, before MLflow tries for minutes.

Each fault is one sentence that names MLFLOW_TRACKING_URI, since that is what a person changes.
"""

import json
import os
import re
import sqlite3
import ssl
from importlib import metadata, util
from pathlib import Path

from mmesid import host
from mmesid.errors import TrackingError, driver_line, first_line, without_secret

SECONDS = 4  # that a server or a database has for an answer
DATABASES = ("sqlite", "postgresql", "postgres", "mysql", "mssql")
ELSEWHERE = ("databricks", "uc")  # hosted: MLflow alone knows how to ask
CERTIFICATES = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # the first that is set
VERSION = "SELECT version_num FROM alembic_version"
MIGRATIONS = "store/db_migrations/versions/*.py"
REVISION = re.compile(r"^revision\b[^=\n]*= *[\"'](\w+)", re.MULTILINE)
BEFORE = re.compile(r"^down_revision\b[^=\n]*= *[\"'](\w+)", re.MULTILINE)


def reach(uri: str) -> None:
    """Raises TrackingError where the store does not answer, is locked, damaged, or none that MLflow can use.

    What may pass (a server that is down) stems from the error of the connection; a mistake stems from nothing.
    """
    scheme = uri.partition("://")[0].partition("+")[0].lower() if "://" in uri else ""
    if scheme in ("http", "https"):
        _reach_server(uri)
    elif scheme == "sqlite":
        _reach_file(uri)
    elif scheme in DATABASES:
        _reach_database(uri)
    elif uri.partition(":")[0] not in ELSEWHERE:
        raise TrackingError(_unusable(uri, scheme))


def explain(uri: str, problem: object) -> str:
    """One line without the password that an address may hold, whatever MLflow said about the store."""
    return _say(uri, f"does not answer ({first_line(problem)}); start the server, or correct MLFLOW_TRACKING_URI")


def is_database(uri: str) -> bool:
    """Whether MLflow reads and writes a database itself, and asks no server; of those whose places can be mended."""
    return uri.partition("://")[0].partition("+")[0].lower() in ("sqlite", "postgresql", "mysql")


def sqlite_path(uri: str) -> Path | None:
    """The file of a sqlite address, in which %20 is no space; None for another, and for one in memory."""
    if not uri.lower().startswith("sqlite"):
        return None
    name = uri.partition("://")[2].partition("?")[0].removeprefix("/")
    return None if not name or name == ":memory:" else Path(name)


def _say(uri: str, fault: str) -> str:
    named = "MLFLOW_TRACKING_URI, MLflow at" if os.environ.get("MLFLOW_TRACKING_URI") else "MLflow at"
    return f"{named} {without_secret(uri)} {fault} (`mmesid doctor` checks it)"


def _unusable(uri: str, scheme: str) -> str:
    if scheme in ("", "file"):
        fault = "is no address of a server or database, and MLflow keeps no runs in folders any more"
    else:
        fault = f"has the scheme {scheme!r}, which MLflow does not know"
    known = "http://HOST:PORT, sqlite:////PATH/mlflow.db or postgresql://USER:PASSWORD@HOST/NAME"
    return _say(uri, f"{fault}: set MLFLOW_TRACKING_URI to {known}, or unset it")


def _reach_server(uri: str) -> None:
    """One question to MLflow's API: what `/health` says, it says without its database, and other servers say too."""
    import httpx

    user, token = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_TOKEN")
    login = (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if user else None
    headers = {"Authorization": f"Bearer {token}"} if token and not user else {}
    url, query = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search", {"max_results": 1}
    try:
        answer = httpx.post(url, json=query, auth=login, headers=headers, timeout=SECONDS, verify=_trusted())
    except OSError as problem:  # of the file that says whom to believe
        named = " or ".join(name for name in CERTIFICATES if os.environ.get(name)) or "SSL_CERT_FILE"
        fault = f"cannot be asked: the certificates that {named} names cannot be read ({problem}): correct it"
        raise TrackingError(_say(uri, fault)) from None
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        raise TrackingError(explain(uri, problem)) from problem
    status = f"status {answer.status_code}"
    if answer.status_code >= 500:
        fault = f"answers with {status}; look at the server's log, or correct MLFLOW_TRACKING_URI"
        raise TrackingError(_say(uri, fault)) from ConnectionError(fault)
    if answer.status_code in (401, 403):
        if _has_other_login():
            return
        fault = f"lets nobody in without a login that it knows ({status})"
        raise TrackingError(_say(uri, f"{fault}: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"))
    if answer.status_code != 200 or not _lists_experiments(answer.content):
        raise TrackingError(_say(uri, f"answers, but not as MLflow does ({status}): correct MLFLOW_TRACKING_URI"))


def _trusted() -> ssl.SSLContext | bool:
    """Whose certificates are believed: MLflow, and the package with which it asks, have variables of their own."""
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        return False
    place = next((Path(os.environ[name]) for name in CERTIFICATES if os.environ.get(name)), None)
    if place is None:
        return True
    return ssl.create_default_context(capath=place) if place.is_dir() else ssl.create_default_context(cafile=place)


def _has_other_login() -> bool:
    """Whether MLflow may know a login that only it can use; who is refused then, is told so by MLflow."""
    files = ("~/.mlflow/credentials", os.environ.get("NETRC") or "~/.netrc")
    signed = any(os.environ.get(name) for name in ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4"))
    return signed or any(Path(file).expanduser().exists() for file in files)


def _lists_experiments(content: bytes) -> bool:
    try:
        answer = json.loads(content)
    except ValueError:
        return False
    return isinstance(answer, dict) and set(answer) <= {"experiments", "next_page_token"}


def _reach_file(uri: str) -> None:
    """A file that does not exist yet is made by MLflow, which tries for minutes where it cannot."""
    path = sqlite_path(uri)
    if path is None:
        return
    if not os.access(path, os.F_OK):
        if fault := host.unwritable(path):
            raise TrackingError(_say(uri, f"cannot be made ({fault}): correct MLFLOW_TRACKING_URI, or the folder"))
        return
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=SECONDS)
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            row = connection.execute(VERSION).fetchone() if "alembic_version" in tables else None
        finally:
            connection.close()
    except sqlite3.OperationalError as problem:
        if "locked" in str(problem):
            fault = "is locked by another process (`fuser FILE` names it): end it or wait, and run again"
            raise TrackingError(_say(uri, fault)) from problem
        fault = f"cannot be opened ({problem}): mend the file, or correct MLFLOW_TRACKING_URI"
        raise TrackingError(_say(uri, fault)) from None
    except sqlite3.DatabaseError as problem:
        fault = f"is damaged ({problem}): put a backup in its place, or move it away, and `mmesid register` starts anew"
        raise TrackingError(_say(uri, fault)) from None
    _check_schema(uri, row[0] if row else None)


def _reach_database(uri: str) -> None:
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    patience = {"login_timeout": SECONDS} if uri.startswith("mssql") else {"connect_timeout": SECONDS}
    try:
        engine = create_engine(uri, connect_args=patience)
        try:
            with engine.connect() as connection:
                there = inspect(connection).has_table("alembic_version")
                row = connection.execute(text(VERSION)).fetchone() if there else None
        finally:
            engine.dispose()
    except (ArgumentError, ImportError, ValueError) as problem:
        fault = f"cannot be used ({first_line(problem)}): correct MLFLOW_TRACKING_URI"
        raise TrackingError(_say(uri, fault)) from None
    except SQLAlchemyError as problem:
        fault = f"does not answer ({driver_line(problem, uri)}); start the database, or correct MLFLOW_TRACKING_URI"
        raise TrackingError(_say(uri, fault)) from problem
    _check_schema(uri, row[0] if row else None)


def _check_schema(uri: str, found: str | None) -> None:
    """Raises TrackingError where a database was made by an older MLflow, which can be mended here, or a newer one.

    The installed MLflow's migrations are read, not imported, which would take seconds.
    """
    spec = util.find_spec("mlflow")
    if found is None or spec is None or spec.origin is None:
        return
    texts = [path.read_text(encoding="utf-8") for path in Path(spec.origin).parent.glob(MIGRATIONS)]
    known = {match[1] for text in texts if (match := REVISION.search(text))}
    passed = {match[1] for text in texts if (match := BEFORE.search(text))}
    if not known or found in known - passed:
        return
    if found in known:
        place = '"$MLFLOW_TRACKING_URI"' if os.environ.get("MLFLOW_TRACKING_URI") else uri
        raise TrackingError(
            _say(uri, f"has the schema of an older MLflow: back it up, then `mlflow db upgrade {place}`")
        )
    installed = f"this is {metadata.version('mlflow')}"
    fault = f"has the schema of a newer MLflow ({installed}): use the newer one, or correct MLFLOW_TRACKING_URI"
    raise TrackingError(_say(uri, fault))
