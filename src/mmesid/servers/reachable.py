"""Whether Prefect can be used, asked in seconds: its API, or the database of the server that a flow starts itself."""

import os
import re
import sqlite3
import tomllib
from contextlib import closing, suppress
from importlib import util
from pathlib import Path
from typing import Any

from mmesid import host
from mmesid.errors import ServiceError, first_line, without_secret
from mmesid.servers import postgres
from mmesid.servers.access import prefect_headers
from mmesid.tracking import store

SECONDS = 4  # that a server or a database has for an answer
API, DATABASE, HOME = "PREFECT_API_URL", "PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_HOME"
LOGIN = "PREFECT_API_AUTH_STRING"  # user:password that clients of a server send
# Both are names of the same setting, of which Prefect takes the first that is set.
DATABASES = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", DATABASE)


def check_prefect(root: Path) -> None:
    """Raises ServiceError, which names the variable to change, where a flow could not report to Prefect."""
    api, place = api_of(root)
    if api:
        check_api(api, place)
    elif named := next((name for name in DATABASES if os.environ.get(name)), None):
        url = os.environ[named]
        if not url.startswith("sqlite"):
            postgres.reach(url, named)
        elif (path := store.sqlite_path(url)) and not str(path).startswith("file:"):  # no file in memory
            _check_named(path, named)
    else:
        check_file(root)


def api_of(root: Path) -> tuple[str, str]:
    """The address that flows report to, and the file that names it; empty where there is none, or it is the variable.

    Prefect reads `.env` and `prefect.toml` in the project's folder, then the active profile of its own.
    """
    if api := os.environ.get(API):
        return api, ""
    home = Path(os.environ.get(HOME, root.absolute() / ".prefect"))
    dotenv, settings, profiles = root / ".env", root / "prefect.toml", home / "profiles.toml"
    content, named = _toml(profiles), os.environ.get("PREFECT_PROFILE")
    profile = content.get("profiles", {}).get(named or content.get("active"), {})
    line = re.search(rf"^ *(?:export +)?{API} *= *[\"']?([^\"'\s]+)", _text(dotenv), re.MULTILINE)
    written = {
        dotenv: line and line[1],
        settings: _toml(settings).get("api", {}).get("url"),
        profiles: profile.get(API),
    }
    return next(((str(api), str(place)) for place, api in written.items() if api), ("", ""))


def _toml(path: Path) -> dict[str, Any]:
    """The content of a file that may be missing; of a damaged one Prefect tells."""
    with suppress(ValueError):
        return tomllib.loads(_text(path))
    return {}


def _text(path: Path) -> str:
    with suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8")
    return ""


def check_api(api: str, place: str = "") -> None:
    """Raises ServiceError where nothing answers, or something that is not Prefect's API.

    Args:
        api: its address.
        place: the file that names it, where it is not the variable.
    """
    import httpx

    unset = f"take {API} out of {place}" if place else f"unset {API}"
    remedy = f"start it (`mmesid up`), or {unset}, and a retrain starts a server of its own"
    address, login = api.rstrip("/"), _login()
    try:
        answer = httpx.get(f"{address}/health", headers=login, timeout=SECONDS)  # which anybody may ask
        inside = httpx.get(f"{address}/admin/version", headers=login, timeout=SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = first_line(error)
        raise ServiceError(f"{API}: no Prefect server answers at {without_secret(api)} ({said}); {remedy}") from error
    if 401 in (answer.status_code, inside.status_code):
        fault = "lets nobody in without a login that it knows"
        raise ServiceError(f"{API}: {without_secret(api)} {fault}: set {LOGIN} to user:password")
    if answer.status_code != 200 or answer.text.strip() != "true":
        said = f"{without_secret(api)} answers, but is no Prefect API (status {answer.status_code})"
        raise ServiceError(f"{API}: {said}; it ends with /api; {remedy}")


def _login() -> dict[str, str]:
    """What clients of Prefect send: a login, or a key of its cloud."""
    key = os.environ.get("PREFECT_API_KEY")
    return prefect_headers(LOGIN) or ({"Authorization": f"Bearer {key}"} if key else {})


def _check_named(path: Path, named: str) -> None:
    """The file that a variable names. Prefect makes it, but no folder for it."""
    fault = host.unwritable(path) if path.absolute().parent.is_dir() else f"there is no folder {path.parent}"
    if fault:
        raise ServiceError(f"{named}: {path} cannot be written ({fault}): correct the variable, or unset it")
    _check_sqlite(path)


def check_file(root: Path) -> None:
    """Raises ServiceError where Prefect's own sqlite file cannot be used; one that is not there yet is made."""
    path = check_home(root) / "prefect.db"
    if fault := host.unaddressable(path):
        raise ServiceError(f"Prefect's database {path} cannot be named: {fault}, or set {HOME} to another folder")
    _check_sqlite(path)


def check_home(root: Path) -> Path:
    """The folder that Prefect reads and writes as soon as it is imported.

    Raises:
        ServiceError: it cannot be used, as where another user owns it.
    """
    home = Path(os.environ.get(HOME, root.absolute() / ".prefect"))
    for path in (home / "prefect.db", home / "profiles.toml"):
        fault = host.unwritable(path) or ("" if _may_read(path) else f"{path} is not readable")
        if fault:
            raise ServiceError(f"Prefect's folder {home} cannot be used ({fault}): mend it, or set {HOME} to another")
    return home


def _may_read(path: Path) -> bool:
    return not os.access(path, os.F_OK) or os.access(path, os.R_OK)


def _check_sqlite(path: Path) -> None:
    if not path.exists():
        return
    away = f"move {path} away, and Prefect starts anew (its list of flow runs goes with it; MLflow keeps the results)"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=SECONDS)) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if found else None
    except sqlite3.Error as error:
        if "locked" in str(error):
            remedy = "another process holds it (`fuser FILE` names it): end it or wait"
            raise ServiceError(f"Prefect's database {path} is locked: {remedy}, or set {API}") from error
        raise ServiceError(f"Prefect's database {path} cannot be used ({error}): {away}") from None
    if row and not _knows(row[0]):
        raise ServiceError(f"Prefect's database {path} was written by a newer Prefect: {away}")


def _knows(revision: str) -> bool:
    """Whether the installed Prefect has this version of its schema."""
    spec = util.find_spec("prefect")
    if spec is None or spec.origin is None:
        return True
    versions = Path(spec.origin).parent / "server" / "database" / "_migrations" / "versions" / "sqlite"
    return not versions.exists() or any(versions.glob(f"*{revision}*.py"))
