"""Who may reach the servers: this machine alone, or others with a password for both."""

import base64
import ipaddress
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from mmesid.errors import ServiceError

PREFECT_LOGIN, MLFLOW_USER, MLFLOW_PASSWORD = ACCESS = (
    "PREFECT_SERVER_API_AUTH_STRING",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
)
PASSWORD_LENGTH = 12  # MLflow refuses a shorter one


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_access(host: str, environment: Mapping[str, str] = os.environ) -> None:
    """A host that others can reach needs a user and a password for both servers.

    Raises:
        ServiceError: one is missing or too weak, or the host is a wildcard.
    """
    if is_loopback(host):
        return
    if host in ("0.0.0.0", "::", ""):
        raise ServiceError(f"--host {host or repr(host)}: name the one address under which browsers reach this machine")
    missing = [name for name in ACCESS if not environment.get(name)]
    if missing:
        raise ServiceError(
            f"--host {host} can be reached by others, so both servers must ask for a password: "
            f"set {', '.join(missing)} in the environment (the first is user:password), or leave --host out"
        )
    if ":" not in environment[PREFECT_LOGIN]:
        raise ServiceError(f"{PREFECT_LOGIN} must be user:password")
    if len(environment[MLFLOW_PASSWORD]) < PASSWORD_LENGTH:
        raise ServiceError(f"{MLFLOW_PASSWORD} must have at least {PASSWORD_LENGTH} characters")


def prefect_headers(variable: str = PREFECT_LOGIN) -> dict[str, str]:
    """What Prefect's server asks for, if it has a password: by the server's variable, or by the one of its clients."""
    login = os.environ.get(variable)
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}


def mlflow_login() -> tuple[str, str] | None:
    """User and password of MLflow's server, if it has any."""
    user = os.environ.get(MLFLOW_USER, "")
    return (user, os.environ.get(MLFLOW_PASSWORD, "")) if user else None


def mlflow_users(root: Path) -> dict[str, str]:
    """Environment of an MLflow server that asks for a password: ours is the administrator's, others may do nothing."""
    settings = root / ".prefect" / "mlflow-access.ini"
    settings.parent.mkdir(parents=True, exist_ok=True)
    users = f"sqlite:///{root / 'mlruns' / 'users.db'}"
    settings.write_text(f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = {users}\n", encoding="utf-8")
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_USERNAME": os.environ[MLFLOW_USER],
        "MLFLOW_AUTH_ADMIN_PASSWORD": os.environ[MLFLOW_PASSWORD],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
    }
