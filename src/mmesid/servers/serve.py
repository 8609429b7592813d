"""`mmesid serve DATASET`: the champion behind MLflow's scoring server.

POST /invocations takes {"inputs": [{"history": ["a", "b"]}], "params": {"k": 10}}; a history or k without an answer
gets 400 and the reason. The champion of the moment is served: after a promotion, start it again.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

from mmesid import registry, tracking
from mmesid.errors import ServiceError
from mmesid.servers.access import is_loopback
from mmesid.servers.services import check_ports

TIMEOUT = "60"  # seconds that MLflow lets one request take


def serve(dataset: str, root: Path, host: str, port: int, workers: int) -> NoReturn:
    """Check, then become MLflow's server.

    Raises:
        ServiceError: the host is not loopback, or the port is taken.
        RegistryError: the dataset has no champion.
    """
    model = check(dataset, host, port, root)
    sys.stdout.write(f"{model} at http://{host}:{port}/invocations; Ctrl-C ends it\n")
    sys.stdout.flush()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # it starts uvicorn by name
    environment = {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": tracking.tracking_uri(root)}
    os.chdir(root)
    words = command(model, host, port, workers)
    os.execve(words[0], words, environment)


def check(dataset: str, host: str, port: int, root: Path) -> str:
    """Whatever can be known to fail, before the server starts. Returns the address of the champion of the moment.

    Raises:
        ServiceError: the host is not loopback, or the port is taken.
        RegistryError: the dataset has no champion.
    """
    if not is_loopback(host):
        raise ServiceError(
            f"--host {host} can be reached by others, and MLflow's scoring server has no authentication: serve on "
            "loopback and put a proxy that has it in front of it"
        )
    check_ports(host, {"--port": port})
    champion = registry.champion_of(dataset, root)
    return f"models:/{champion.name}/{champion.version}"


def command(model: str, host: str, port: int, workers: int) -> list[str]:
    """The server's command."""
    options = ["--env-manager", "local", "--host", host, "--port", str(port), "--workers", str(workers)]
    return [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", model, "--timeout", TIMEOUT, *options]
