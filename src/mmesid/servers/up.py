"""`mmesid up`: Prefect's server, its worker and MLflow's server, until Ctrl-C.."""

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from mmesid import config as configuration
from mmesid.errors import MmesidError, ServiceError
from mmesid.host import HeldError, hold
from mmesid.servers import buckets, deployments, postgres
from mmesid.servers import stack as servers
from mmesid.servers.services import Services, check_ports
from mmesid.servers.stack import Options


def up(options: Options, root: Path) -> None:
    """Start everything, say where it answers, and watch until one service dies or a signal comes.

    Args:
        options: where it listens and keeps its data.
        root: the project's folder.

    Raises:
        ServiceError: what cannot start is said before anything does; later, with the last lines of what has died.
    """
    root = root.absolute()
    try:
        # Services ends first what an earlier one has left, which may hold the ports.
        with hold(root / "mlruns" / "services" / ".lock"), Services(root, say) as services:
            databases = check(options, root)
            start(services, options, root, databases)
            say(welcome(options, root, services))
            services.watch()
    except HeldError as holder:
        raise ServiceError(f"`mmesid up` runs in {root} already, or is just ending ({holder})") from None


def check(options: Options, root: Path) -> postgres.Databases | None:
    """Whatever can be known to fail, before anything starts. Returns the databases on Postgres, if asked for."""
    servers.check_access(options.host)
    if options.postgres:
        postgres.check(options.postgres)
    if options.artifacts:
        buckets.check(options.artifacts)
    check_ports(options.host, {"--prefect-port": options.prefect_port, "--mlflow-port": options.mlflow_port})
    deployments.complete(root)
    if options.artifacts:
        buckets.probe(options.artifacts)
    if not options.postgres:
        servers.store(root)
        return None
    return postgres.prepare(options.postgres)


def start(services: Services, options: Options, root: Path, databases: postgres.Databases | None) -> None:
    """The servers, then what a kill left behind, then the worker, then the deployments."""
    environment = servers.common(options, root)
    both = (servers.prefect(options, root, databases), servers.mlflow(options, root, databases))
    for service in both:
        services.start(service)
    for service in both:
        services.wait(service)
    for line in servers.elsewhere(options, configuration.datasets(root)):
        say(line)
    services.run("reap", [sys.executable, "-m", "mmesid.servers.reap", "--alone"], environment)
    say(services.log("reap").read_text(encoding="utf-8").strip())
    for name in servers.take_down_outlived(f"{options.prefect}/api", root):
        say(f"{name} is no longer among the datasets of params.yaml: its schedule is taken down")
    worker = servers.worker(options, root)
    services.start(worker)
    services.wait(worker)
    services.run("deploy", deployments.command(root), environment)


def welcome(options: Options, root: Path, services: Services) -> str:
    """Where everything is."""
    names = ", ".join(configuration.datasets(root))
    logs = services.log("*").relative_to(root)
    rows = [
        f"Prefect  {options.prefect}  (deployments of retrain: {names}; prefect.yaml says when)",
        f"MLflow   {options.mlflow}" + (f"  (artifacts in {options.artifacts})" if options.artifacts else ""),
        f"logs     {logs}",
        "Commands in another terminal use both with:",
        f"  export PREFECT_API_URL={options.prefect}/api MLFLOW_TRACKING_URI={options.mlflow}",
        "Ctrl-C stops everything.",
    ]
    return "\n".join(rows)


def say(text: str) -> None:
    """A line for the person at the terminal."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """The command line. MMESID_POSTGRES holds the URL where it shall not stand in the process list."""
    parser = argparse.ArgumentParser(prog="mmesid up", description=__doc__)
    parser.add_argument("--host", default=Options().host)
    parser.add_argument("--prefect-port", type=int, default=Options().prefect_port)
    parser.add_argument("--mlflow-port", type=int, default=Options().mlflow_port)
    parser.add_argument("--artifacts-destination", default=os.environ.get("MLFLOW_ARTIFACTS_DESTINATION"))
    given = parser.parse_args()
    postgres_url = os.environ.pop("MMESID_POSTGRES", None)
    options = Options(given.host, given.prefect_port, given.mlflow_port, postgres_url, given.artifacts_destination)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _interrupt)
    try:
        up(options, Path())
    except KeyboardInterrupt:
        say("stopped")
    except MmesidError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
