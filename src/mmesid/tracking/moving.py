"""A folder that was moved or copied takes its artifacts along: MLflow stores absolute places, which are set right here.

The database of this folder (`mlruns/mlflow.db`) follows it wherever it goes. One that lies elsewhere may belong to
several folders and machines: it follows only where the old place is gone and artifacts of its runs lie here.
"""

import hashlib
import socket
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from sqlalchemy import Connection

COLUMNS = (  # where MLflow keeps places
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
PROOF = (("runs", "artifact_uri"), ("logged_models", "artifact_location"))  # below it nobody else's files lie
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
        tagged = {tag for (tag,) in connection.execute("SELECT value FROM tags WHERE key = 'mmesid.checkout'")}
        before = sorted({old for place in places if (old := _moved_from(place, mlruns, tagged))})
        with connection:  # all of it or nothing
            for old in before:
                _move(connection, Path(old), mlruns)
    return before


def settle_elsewhere(uri: str, mlruns: Path) -> list[str]:
    """The same in a database that lies outside of this folder: on Postgres, or in a file of a person's choice.

    Args:
        uri: the database, as SQLAlchemy takes it.
        mlruns: the folder as it is named now, absolute.

    Returns:
        The folders in which it was before.
    """
    if not (mlruns / "artifacts").is_dir():
        return []
    from sqlalchemy import create_engine, inspect, text

    engine = create_engine(uri, connect_args={"timeout": SECONDS} if uri.startswith("sqlite") else {})
    try:
        with engine.begin() as connection:  # all of it or nothing
            if not inspect(connection).has_table("experiments"):
                return []
            places = connection.execute(text("SELECT artifact_location FROM experiments")).scalars()
            before = sorted({old for place in places if place and (old := _gone_from(place, mlruns))})
            moved = [old for old in before if _came_here(connection, Path(old), mlruns)]
            for old in moved:
                _move_elsewhere(connection, Path(old), mlruns)
    finally:
        engine.dispose()
    return moved


def checkout_of(folder: Path) -> str:
    """Short name of a folder on this machine, as runs carry it in a tag: several checkouts may log to one server."""
    return hashlib.sha256(f"{socket.gethostname()}:{folder}".encode()).hexdigest()[:12]


def _old_place(place: str, mlruns: Path) -> tuple[str, str]:
    """The `mlruns` in which artifacts lie, and the experiment's folder in it; empty where it is this one or none."""
    path = unquote(place.removeprefix("file://")) if place.startswith("file://") else place
    head, below, name = path.rpartition(BELOW)
    old = f"{head}/mlruns"
    return (old, name) if below and head.startswith("/") and Path(old) != mlruns else ("", "")


def _moved_from(place: str, mlruns: Path, tagged: Collection[str]) -> str:
    """The `mlruns` in which artifacts lay before they came here; empty where they have not moved.

    They have where they lie here, or where runs tell that the old place was this checkout's and it is gone. A place
    that a person chose, and that is not mounted now, stays theirs.
    """
    old, name = _old_place(place, mlruns)
    was_ours = old and not Path(f"{old}/artifacts", name).exists() and checkout_of(Path(old).parent) in tagged
    return old if old and (was_ours or (mlruns / "artifacts" / name).exists()) else ""


def _gone_from(place: str, mlruns: Path) -> str:
    """The `mlruns` in which artifacts lay that is there no more, while this one has a folder of the same name."""
    old, name = _old_place(place, mlruns)
    return old if old and not Path(old).exists() and (mlruns / "artifacts" / name).exists() else ""


def _forms(old: Path, new: Path) -> tuple[tuple[str, str], tuple[str, str]]:
    """Before and after, as an address and as a path: MLflow stores either."""
    return (old.as_uri(), new.as_uri()), (str(old), str(new))


def _move(connection: sqlite3.Connection, old: Path, new: Path) -> None:
    for before, after in _forms(old, new):
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


def _came_here(connection: "Connection", old: Path, new: Path) -> bool:
    """Whether artifacts of a run or model that were below the old folder lie below the new one."""
    from sqlalchemy import String, column, func, select, table

    for before, _ in _forms(old, new):
        for name, place in _present(connection, PROOF):
            inside = func.substr(column(place), 1, len(before) + 1) == f"{before}/"
            query = select(column(place, String())).select_from(table(name)).where(inside)
            found = connection.execute(query).scalars()
            if any((new / unquote(path.removeprefix(before)).lstrip("/")).exists() for path in found):
                return True
    return False


def _move_elsewhere(connection: "Connection", old: Path, new: Path) -> None:
    from sqlalchemy import column, func, literal, table, update

    for before, after in _forms(old, new):
        for name, place in _present(connection, COLUMNS):
            inside = func.substr(column(place), 1, len(before) + 1) == f"{before}/"
            moved = literal(after).concat(func.substr(column(place), len(before) + 1))
            connection.execute(update(table(name, column(place))).where(inside).values({place: moved}))
    tags = table("tags", column("key"), column("value"))
    was = (tags.c.key == "mmesid.checkout") & (tags.c.value == checkout_of(old.parent))
    connection.execute(update(tags).where(was).values(value=checkout_of(new.parent)))


def _present(connection: "Connection", columns: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
    """Those tables and columns that the database has: MLflow's schema grows."""
    from sqlalchemy import inspect

    there = inspect(connection)
    for name, place in columns:
        if there.has_table(name) and place in {each["name"] for each in there.get_columns(name)}:
            yield name, place
