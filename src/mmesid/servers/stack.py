"""What `mmesid up` starts: Prefect's server, its worker and MLflow's server, each with its command and environment."""

import os
import socket
import sys
from pathlib import Path

from mmesid.errors import ServiceError
from mmesid.host import QUIET, spare_loopback
from mmesid.servers.access import PREFECT_LOGIN, is_loopback, mlflow_users
from mmesid.servers.options import Options, bracketed
from mmesid.servers.postgres import Databases
from mmesid.servers.prefect_api import POOL, answers, is_online, runs_one_at_a_time
from mmesid.servers.services import Service
from mmesid.tracking import tracking_uri

DECIDED_HERE = (  # a person's variables that no service may inherit: `mmesid up` decides these things
    "MLFLOW_ARTIFACTS_DESTINATION",
    "MLFLOW_REGISTRY_URI",
    "MMESID_EXECUTION",
    "MMESID_POSTGRES",
    "PREFECT_API_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
)


def common(options: Options, root: Path) -> dict[str, str]:
    """Environment of all: where Prefect and MLflow answer, the state inside the checkout, this environment's Python."""
    inherited = {name: value for name, value in os.environ.items() if name not in DECIDED_HERE}
    code = filter(None, [str(root / "src"), str(root), os.environ.get("PYTHONPATH")])
    environment = {
        **inherited,
        **QUIET,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join(code),
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_TRACKING_URI": options.mlflow,
        "PREFECT_API_URL": options.prefect_api,
        "PREFECT_CLI_COLORS": "false",
        "PREFECT_HOME": str(root / ".prefect"),
        "PREFECT_WORKER_QUERY_SECONDS": "2",  # a retrain that was asked for waits no longer
    }
    if login := os.environ.get(PREFECT_LOGIN):
        environment["PREFECT_API_AUTH_STRING"] = login
    spare_loopback(options.host, variables=environment)
    return environment


def prefect(options: Options, root: Path, databases: Databases | None) -> Service:
    """Prefect's server: API, pages, scheduler."""
    environment = {
        **common(options, root),
        "PREFECT_SERVER_UI_API_URL": options.prefect_api,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": options.prefect,
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",  # those pages call amplitude.com, whatever is set about analytics
    }
    if databases:
        environment["PREFECT_API_DATABASE_CONNECTION_URL"] = databases.prefect
    command = ["prefect", "server", "start", "--host", options.host, "--port", str(options.prefect_port)]
    return Service("prefect", _module(command), environment, lambda: answers(f"{options.prefect_api}/health"))


def mlflow(options: Options, root: Path, databases: Databases | None) -> Service:
    """MLflow's server. Its database stands in the environment, where no process list shows it."""
    environment = {
        **common(options, root),
        "MLFLOW_BACKEND_STORE_URI": databases.mlflow if databases else local_store(root),
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
        environment |= mlflow_users(root)
    return Service("mlflow", _module(command), environment, lambda: answers(f"{options.mlflow}/health"))


def worker(options: Options, root: Path) -> Service:
    """Starts the flow runs of the work pool, which it creates where there is none."""
    name = f"{socket.gethostname()}-{os.getpid()}"
    command = ["prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", name]

    def ready() -> bool:
        return is_online(options.prefect_api, name) and runs_one_at_a_time(options.prefect_api)

    return Service("worker", _module(command), common(options, root), ready)


def local_store(root: Path) -> str:
    """Where runs are kept without Postgres: in MLFLOW_TRACKING_URI where that is a database, else in `mlruns/`.

    Raises:
        ServiceError: it is a server already.
    """
    uri = tracking_uri(root)
    if uri.startswith("http"):
        raise ServiceError("MLFLOW_TRACKING_URI names a server already; unset it, and `mmesid up` starts its own")
    return uri


def _module(command: list[str]) -> list[str]:
    return [sys.executable, "-m", *command]
