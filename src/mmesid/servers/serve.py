"""`mmesid serve DATASET`: the champion behind MLflow's scoring server..

POST /invocations takes {"inputs": [{"history": ["a", "b"]}], "params": {"k": 10}}; a history or k without an answer
gets 400 and the reason. The champion of the moment is served: after a promotion, start it again.
"""

import argparse
import os
import sys
from pathlib import Path

from mmesid import registry, tracking
from mmesid.errors import MmesidError, RegistryError, ServiceError
from mmesid.servers.services import check_ports
from mmesid.servers.stack import is_loopback

TIMEOUT = "60"  # seconds that MLflow lets one request take


def check(dataset: str, host: str, port: int, root: Path) -> str:
    """Whatever can be known to fail, before the server starts. Returns the address of the champion of the moment.

    Raises:
        ServiceError: the host is not loopback, or the port is taken.
        RegistryError: the dataset has no champion.
    """
    if not is_loopback(host):
        raise ServiceError(
            f"--host {host} can be reached by others, and MLflow's scoring server knows no passwords: serve on "
            "loopback and put a proxy that does in front of it"
        )
    check_ports(host, {"--port": port})
    champion = registry.version_of(tracking.client(root), dataset, "champion")
    if champion is None:
        raise RegistryError(
            f"{registry.model_name(dataset)} has no champion; `python -m flows.retrain --datasets {dataset}` makes one"
        )
    return f"models:/{champion.name}/{champion.version}"


def command(model: str, host: str, port: int, workers: int) -> list[str]:
    """The server's command."""
    options = ["--env-manager", "local", "--host", host, "--port", str(port), "--workers", str(workers)]
    return [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", model, "--timeout", TIMEOUT, *options]


def main() -> None:
    """Check, then become the server."""
    parser = argparse.ArgumentParser(prog="mmesid serve", description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    root = Path().absolute()
    try:
        model = check(given.dataset, given.host, given.port, root)
    except MmesidError as error:
        sys.exit(f"Error: {error}")
    sys.stdout.write(f"{model} at http://{given.host}:{given.port}/invocations; Ctrl-C ends it\n")
    sys.stdout.flush()
    python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # it starts uvicorn by name
    environment = {**os.environ, "PATH": python, "MLFLOW_TRACKING_URI": tracking.tracking_uri(root)}
    words = command(model, given.host, given.port, given.workers)
    os.execve(words[0], words, environment)


if __name__ == "__main__":
    main()
