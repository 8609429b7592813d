"""A folder that was moved or copied takes its artifacts along: MLflow stores absolute places, which are set right here.

Only the database of this folder is changed (`mlruns/mlflow.db`), and only places that were below another `mlruns` and
lie below this one now.
"""

import hashlib
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

COLUMNS = (  # where MLflow keeps places
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
BELOW = "/mlruns/artifacts/"
SECONDS = 5  # that another process may hold the database


def settle(mlruns: Path) -> list[str]:
    """Let every place in `mlflow.db` be below the `mlruns` that holds it.

    Args:
        mlruns: the folder as it is named now, absolute.

    Returns:
        The folders in which it was before.
    """
    database = mlruns / "mlflow.db"
    if not database.exists():
        return []
    with closing(sqlite3.connect(database, timeout=SECONDS)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return []
        places = [place for (place,) in connection.execute("SELECT artifact_location FROM experiments") if place]
        before = sorted({old for place in places if (old := _moved_from(place, mlruns))})
        with connection:  # all of it or nothing
            for old in before:
                _move(connection, Path(old), mlruns)
    return before


def checkout_of(folder: Path) -> str:
    """Short name of a folder on this machine, as runs carry it in a tag: several checkouts may log to one server."""
    return hashlib.sha256(f"{socket.gethostname()}:{folder}".encode()).hexdigest()[:12]


def _moved_from(place: str, mlruns: Path) -> str:
    """The `mlruns` in which artifacts lay before they came here; empty where they have not moved."""
    path = unquote(place.removeprefix("file://")) if place.startswith("file://") else place
    head, below, name = path.rpartition(BELOW)
    old = f"{head}/mlruns"
    if not below or not head.startswith("/") or Path(old) == mlruns:
        return ""
    came_along = (mlruns / "artifacts" / name).exists() or not Path(path).exists()
    return old if came_along else ""


def _move(connection: sqlite3.Connection, old: Path, new: Path) -> None:
    for before, after in ((old.as_uri(), new.as_uri()), (str(old), str(new))):
        for table, column in COLUMNS:
            if column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (after, len(before) + 1, len(before) + 1, f"{before}/"),
                )
    connection.execute(
        "UPDATE tags SET value = ? WHERE key = 'mmesid.checkout' AND value = ?",
        (checkout_of(new.parent), checkout_of(old.parent)),
    )
