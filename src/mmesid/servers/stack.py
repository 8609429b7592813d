"""What `mmesid up` starts: Prefect's server, its worker and MLflow's server, each with its command and environment."""

import base64
import ipaddress
import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmesid.errors import ServiceError
from mmesid.servers import deployments
from mmesid.servers.postgres import Databases
from mmesid.servers.services import Service
from mmesid.tracking import tracking_uri

POOL = "mmesid"
ACCESS = ("PREFECT_SERVER_API_AUTH_STRING", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
SET_HERE = (  # variables that say what `mmesid up` decides
    "MLFLOW_ARTIFACTS_DESTINATION",
    "MLFLOW_REGISTRY_URI",
    "MMESID_EXECUTION",
    "MMESID_POSTGRES",
    "PREFECT_API_DATABASE_CONNECTION_URL",
)
PASSWORD_LENGTH = 12  # MLflow refuses a shorter one


class Options(NamedTuple):
    """What the command line says."""

    host: str = "127.0.0.1"
    prefect_port: int = 4200
    mlflow_port: int = 5000
    postgres: str | None = None
    artifacts: str | None = None  # s3://bucket/prefix; MLflow's artifacts lie in mlruns/ without it

    @property
    def prefect(self) -> str:
        """Address of Prefect's pages."""
        return f"http://{bracketed(self.host)}:{self.prefect_port}"

    @property
    def mlflow(self) -> str:
        """Address of MLflow's pages, and its tracking URI."""
        return f"http://{bracketed(self.host)}:{self.mlflow_port}"


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_access(host: str, environment: Mapping[str, str] = os.environ) -> None:
    """A host that others can reach demands a user and a password for both servers.

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
    if ":" not in environment[ACCESS[0]]:
        raise ServiceError(f"{ACCESS[0]} must be user:password")
    if len(environment[ACCESS[2]]) < PASSWORD_LENGTH:
        raise ServiceError(f"{ACCESS[2]} must have at least {PASSWORD_LENGTH} characters")


def common(options: Options, root: Path) -> dict[str, str]:
    """Environment of all: where Prefect and MLflow answer, the state inside the checkout, this environment's Python."""
    python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    code = os.pathsep.join(filter(None, [str(root / "src"), str(root), os.environ.get("PYTHONPATH")]))
    given = {
        **os.environ,
        "PATH": python,
        "PYTHONPATH": code,
        "PYTHONUNBUFFERED": "1",
        "DO_NOT_TRACK": "true",
        "DVC_NO_ANALYTICS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": options.mlflow,
        "PREFECT_API_URL": f"{options.prefect}/api",
        "PREFECT_CLI_COLORS": "false",
        "PREFECT_HOME": str(root / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",  # that a retrain, once asked for, waits at most
    }
    if access := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        given["PREFECT_API_AUTH_STRING"] = access
    for name in SET_HERE:
        given.pop(name, None)
    return given


def prefect(options: Options, root: Path, databases: Databases | None) -> Service:
    """Prefect's server: API, pages, scheduler."""
    environment = {
        **common(options, root),
        "PREFECT_SERVER_UI_API_URL": f"{options.prefect}/api",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": options.prefect,
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",  # those pages ask amplitude.com, whatever is said about analytics
    }
    if databases:
        environment["PREFECT_API_DATABASE_CONNECTION_URL"] = databases.prefect
    command = ["prefect", "server", "start", "--host", options.host, "--port", str(options.prefect_port)]
    return Service("prefect", _module(command), environment, lambda: answers(f"{options.prefect}/api/health"))


def mlflow(options: Options, root: Path, databases: Databases | None) -> Service:
    """MLflow's server. Its database stands in the environment, where no process list shows it."""
    environment = {
        **common(options, root),
        "MLFLOW_BACKEND_STORE_URI": databases.mlflow if databases else store(root),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    del environment["MLFLOW_TRACKING_URI"]
    command = ["mlflow", "server", "--host", options.host, "--port", str(options.mlflow_port), "--workers", "1"]
    if options.artifacts:
        command += ["--artifacts-destination", options.artifacts]
    else:
        command += ["--default-artifact-root", str(root / "mlruns" / "artifacts")]
    if not is_loopback(options.host):
        command += ["--app-name", "basic-auth", "--allowed-hosts", f"{bracketed(options.host)}:{options.mlflow_port}"]
        environment |= _basic_auth(root)
    return Service("mlflow", _module(command), environment, lambda: answers(f"{options.mlflow}/health"))


def store(root: Path) -> str:
    """Where runs are kept without Postgres: in MLFLOW_TRACKING_URI where that is a database, else in `mlruns/`.

    Raises:
        ServiceError: it is a server already.
    """
    uri = tracking_uri(root)
    if uri.startswith("http"):
        raise ServiceError("MLFLOW_TRACKING_URI names a server already; unset it, and `mmesid up` starts its own")
    return uri


def worker(options: Options, root: Path) -> Service:
    """Starts the flow runs of the work pool, which it creates where there is none."""
    name = f"{socket.gethostname()}-{os.getpid()}"
    command = ["prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", name]

    def ready() -> bool:
        return is_online(options, name) and runs_one_at_a_time(options)

    return Service("worker", _module(command), common(options, root), ready)


def elsewhere(options: Options, names: Sequence[str]) -> list[str]:
    """A line for each experiment that keeps its artifacts outside of --artifacts-destination: MLflow moves none.

    Args:
        options: of servers that answer.
        names: of experiments; one that does not exist yet will be where the options say.

    Raises:
        ServiceError: artifacts lie in a store that --artifacts-destination named before, and nothing names it now.
    """
    import httpx

    user, password = (os.environ.get(name, "") for name in ACCESS[1:])
    url, login = f"{options.mlflow}/api/2.0/mlflow/experiments/search", (user, password) if user else None
    answer = httpx.post(url, json={"max_results": 1000}, auth=login, timeout=30, trust_env=False).raise_for_status()
    found = {experiment["name"]: experiment["artifact_location"] for experiment in answer.json().get("experiments", [])}
    proxied = {name: found[name].startswith("mlflow-artifacts:") for name in names if name in found}
    if any(proxied.values()) and not options.artifacts:
        named = ", ".join(name for name in proxied if proxied[name])
        raise ServiceError(f"artifacts of {named} lie where --artifacts-destination said before: name it again")
    said = (
        "keeps its artifacts there, since MLflow moves none; an experiment renamed in MLflow makes room for a new one"
    )
    return [f"{name} {said}: {found[name]}" for name in proxied if not proxied[name] and options.artifacts]


def answers(url: str) -> bool:
    """Whether a GET is answered with success."""
    import httpx

    try:
        return httpx.get(url, headers=_login(), timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def is_online(options: Options, name: str) -> bool:
    """Whether Prefect's server has heard from a worker."""
    import httpx

    url = f"{options.prefect}/api/work_pools/{POOL}/workers/filter"
    try:
        answer = httpx.post(url, json={"limit": 200}, headers=_login(), timeout=5, trust_env=False)
        workers = answer.json() if answer.is_success else []
    except (httpx.HTTPError, ValueError):
        return False
    return any(worker["name"] == name and worker["status"] == "ONLINE" for worker in workers)


def runs_one_at_a_time(options: Options) -> bool:
    """Let retrains of all datasets queue, since they share the checkout. Whether Prefect's server has taken it: one
    whose database is busy answers 503.
    """
    import httpx

    url, limit = f"{options.prefect}/api/work_pools/{POOL}", {"concurrency_limit": 1}
    try:
        return httpx.patch(url, json=limit, headers=_login(), timeout=30, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _login() -> dict[str, str]:
    access = os.environ.get("PREFECT_SERVER_API_AUTH_STRING")
    return {"Authorization": f"Basic {base64.b64encode(access.encode()).decode()}"} if access else {}


def _basic_auth(root: Path) -> dict[str, str]:
    """MLflow's own users: the one of the environment is the administrator, and others may do nothing unasked."""
    settings = root / ".prefect" / "mlflow-access.ini"
    settings.parent.mkdir(parents=True, exist_ok=True)
    users = f"sqlite:///{root / 'mlruns' / 'users.db'}"
    settings.write_text(f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = {users}\n", encoding="utf-8")
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_USERNAME": os.environ["MLFLOW_TRACKING_USERNAME"],
        "MLFLOW_AUTH_ADMIN_PASSWORD": os.environ["MLFLOW_TRACKING_PASSWORD"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
    }


def _module(command: list[str]) -> list[str]:
    return [sys.executable, "-m", *command]


def take_down_outlived(api: str, root: Path) -> list[str]:
    """Delete the deployments, and what is scheduled of them, of datasets that `params.yaml` no longer lists.

    Returns:
        Their names.
    """
    import httpx

    with httpx.Client(base_url=api, headers=_login(), timeout=30, trust_env=False) as prefect:

        def ask(method: str, path: str, body: Mapping[str, object] | None = None) -> httpx.Response:
            for pause in (0.5, 1, 2, 4, 8):
                if (answer := prefect.request(method, path, json=body)).status_code != 503:  # its database is busy
                    break
                time.sleep(pause)
            return answer.raise_for_status()

        wanted = {"deployments": {"tags": {"all_": [deployments.tag(root)]}}, "limit": 200}
        outlived = deployments.outlived(ask("POST", "/deployments/filter", wanted).json(), root)
        for identity in outlived.values():
            ask("DELETE", f"/deployments/{identity}")
    return sorted(outlived)
