"""Postgres behind Prefect and MLflow: a database for each, since both keep their schema's version in the same table."""

from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from mmesid.errors import ServiceError, driver_line, without_secret

NAMES = {"prefect": "mmesid_prefect", "mlflow": "mmesid_mlflow"}
SECONDS = 5  # that Postgres has for an answer
FORM = "--postgres must be postgresql://USER:PASSWORD@HOST:PORT"


class Databases(NamedTuple):
    """Addresses with the password inside: for the environment of the two servers, and for nothing else."""

    prefect: str
    mlflow: str


def prepare(url: str) -> Databases:
    """Make sure that both databases exist.

    Args:
        url: `postgresql://user:password@host:port`, and the database to connect to first (`postgres` by default).

    Raises:
        ServiceError: the URL is malformed, the server is out of reach, or the user may not create the databases.
    """
    check(url)
    import psycopg2
    from psycopg2 import sql

    connection = _connect(url, "--postgres")
    connection.autocommit = True  # CREATE DATABASE allows no transaction
    try:
        with connection.cursor() as cursor:
            for name in NAMES.values():
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg2.Error as error:
        by_hand = "; ".join(f"CREATE DATABASE {name} OWNER {urlsplit(url).username}" for name in NAMES.values())
        problem = f"--postgres {without_secret(url)}: {driver_line(error, url)}"
        raise ServiceError(f"{problem}; let a superuser run: {by_hand}") from None
    finally:
        connection.close()
    return addresses(url)


def reach(url: str, named: str) -> None:
    """Raises ServiceError where a database does not answer within seconds.

    Args:
        url: as SQLAlchemy takes it, driver included.
        named: the variable or option that holds it.
    """
    _connect(url, named).close()


def check(url: str) -> None:
    """Raises ServiceError where the text cannot be the address of a Postgres server."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not parts.username or port == -1:
        raise ServiceError(f"{FORM}; it is {without_secret(url)!r}")


def addresses(url: str) -> Databases:
    """Addresses for each server: Prefect speaks through asyncpg, MLflow through psycopg2."""
    prefect = _address(url, NAMES["prefect"], "postgresql+asyncpg", {"sslmode": "ssl"})
    return Databases(prefect, _address(url, NAMES["mlflow"], "postgresql+psycopg2"))


def _address(url: str, database: str, scheme: str = "postgresql", rename: dict[str, str] | None = None) -> str:
    parts = urlsplit(url)
    query = urlencode([((rename or {}).get(name, name), value) for name, value in parse_qsl(parts.query)])
    return urlunsplit((scheme, parts.netloc, f"/{database}", query, ""))


def _connect(url: str, named: str) -> Any:
    import psycopg2

    try:
        database = urlsplit(url).path.strip("/") or "postgres"
        return psycopg2.connect(_address(url, database), connect_timeout=SECONDS)
    except psycopg2.Error as error:
        remedy = "start Postgres, or correct the address"
        raise ServiceError(f"{named} {without_secret(url)}: {driver_line(error, url)}; {remedy}") from None
