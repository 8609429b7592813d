"""`mmesid up`: Prefect's server, its worker and MLflow's server, until Ctrl-C."""

import os
import sys
from pathlib import Path
from types import FrameType

from mmesid import config, tracking
from mmesid.errors import ServiceError
from mmesid.host import HeldError, hold
from mmesid.servers import buckets, deployments, postgres, prefect_api, processes, reachable, stack
from mmesid.servers.access import check_access
from mmesid.servers.options import Options
from mmesid.servers.services import Services, check_ports

REAP = [sys.executable, "-m", "mmesid.commands.cli", "reap", "--alone"]


def run(options: Options, root: Path) -> None:
    """`up` for a person at a terminal: a signal that asks this process to end stops everything."""
    os.chdir(root)
    processes.take_ends(interrupt)
    try:
        up(options, root)
    except KeyboardInterrupt:
        say("stopped")


def up(options: Options, root: Path) -> None:
    """Start everything, say where it answers, and watch until one service dies or a signal comes.

    Args:
        options: where it listens and keeps its data.
        root: the project's folder.

    Raises:
        ServiceError: something cannot start, which is known before anything does; or a service has died, with its last
            lines.
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
    check_access(options.host)
    if options.postgres:
        postgres.check(options.postgres)
    if options.artifacts:
        buckets.check(options.artifacts)
    check_ports(options.host, {"--prefect-port": options.prefect_port, "--mlflow-port": options.mlflow_port})
    deployments.complete(root)
    if options.artifacts:
        buckets.probe(options.artifacts)
    if options.postgres:
        databases = postgres.prepare(options.postgres)
        tracking.settle(databases.mlflow, root)
        return databases
    reachable.check_file(root)
    stack.local_store(root)
    tracking.reach(root)
    return None


def start(services: Services, options: Options, root: Path, databases: postgres.Databases | None) -> None:
    """The servers, then the end of what a kill left behind, then the worker, then the deployments."""
    environment = stack.common(options, root)
    servers = (stack.prefect(options, root, databases), stack.mlflow(options, root, databases))
    for server in servers:
        services.start(server)
    for server in servers:
        services.wait(server)
    for line in buckets.artifacts_elsewhere(options, config.datasets(root)):
        say(line)
    services.run("reap", REAP, environment)
    say(services.log("reap").read_text(encoding="utf-8").strip())
    for name in prefect_api.take_down_outlived(options.prefect_api, root):
        say(f"{name} is no longer among the datasets of params.yaml: its schedule is taken down")
    worker = stack.worker(options, root)
    services.start(worker)
    services.wait(worker)
    services.run("deploy", deployments.command(root), environment)


def welcome(options: Options, root: Path, services: Services) -> str:
    """Where everything is."""
    names = ", ".join(config.datasets(root))
    logs = services.log("*").relative_to(root)
    rows = [
        f"Prefect  {options.prefect}  (deployments of retrain: {names}; prefect.yaml says when)",
        f"MLflow   {options.mlflow}" + (f"  (artifacts in {options.artifacts})" if options.artifacts else ""),
        f"logs     {logs}",
        "Commands in another terminal use both with:",
        f"  export PREFECT_API_URL={options.prefect_api} MLFLOW_TRACKING_URI={options.mlflow}",
        "Ctrl-C stops everything.",
    ]
    return "\n".join(rows)


def say(text: str) -> None:
    """A line for the person at the terminal."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def interrupt(number: int, frame: FrameType | None) -> None:
    """A signal handler: every signal ends things as Ctrl-C does."""
    raise KeyboardInterrupt
