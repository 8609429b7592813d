"""Servers under one process: started, watched, stopped, and never left behind; stand-ins of a few lines answer fast."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmesid import config
from mmesid.errors import ServiceError
from mmesid.host import hold
from mmesid.servers import access, deployments, postgres, prefect_api, processes, stack
from mmesid.servers.options import Options
from mmesid.servers.services import Service, Services, check_ports
from tests.waiting import wait_until

PROJECT = Path(__file__).parents[2]
SERVER = """
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
SLEEP = "import time; time.sleep(90)"
ORPHAN = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
time.sleep(90)
"""

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc"),
]


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield int(taken.getsockname()[1])


def stand_in(name: str, code: str, *arguments: str, ready: Callable[[], bool] = lambda: True) -> Service:
    return Service(name, [sys.executable, "-c", code, *arguments], dict(os.environ), ready, seconds=30)


def answers(port: int) -> bool:
    return prefect_api.answers(f"http://127.0.0.1:{port}/")


def test_a_service_answers_until_all_is_stopped(tmp_path: Path, port: int) -> None:
    said: list[str] = []
    service = stand_in("web", SERVER, str(port), ready=lambda: answers(port))
    with Services(tmp_path, said.append) as services:
        services.start(service)
        services.wait(service)
        assert answers(port)
        assert processes.marked(services.mark(MMESID_SERVICE="web"))
    assert said == ["web answers"]
    assert not answers(port)
    assert not processes.marked(services.mark())


def test_what_a_service_has_started_ends_with_it_in_whatever_session(tmp_path: Path) -> None:
    with Services(tmp_path, lambda text: None) as services:
        services.start(stand_in("worker", ORPHAN))
        wait_until(lambda: len(processes.marked(services.mark())) == 2)
    assert not processes.marked(services.mark())


def test_a_service_that_dies_ends_all_with_its_last_lines(tmp_path: Path) -> None:
    dying = "import sys; print('first'); print('postgresql://me:secret@db is gone'); sys.exit(3)"
    with Services(tmp_path, lambda text: None) as services:
        services.start(stand_in("other", SLEEP))
        services.start(stand_in("web", dying))
        with pytest.raises(ServiceError) as caught:
            services.watch()
    said = r"web has ended with status 3; .*web\.log ends with:\n  first\n  postgresql://db"
    assert re.search(said, str(caught.value))
    assert not processes.marked(services.mark())


def test_a_service_that_never_answers_is_given_up(tmp_path: Path) -> None:
    silent = stand_in("web", SLEEP, ready=lambda: False)._replace(seconds=0.2)
    with Services(tmp_path, lambda text: None) as services:
        services.start(silent)
        with pytest.raises(ServiceError, match="does not answer after"):
            services.wait(silent)


def test_a_step_that_fails_is_told_with_its_output(tmp_path: Path) -> None:
    with Services(tmp_path, lambda text: None) as services, pytest.raises(ServiceError, match="no such pool"):
        services.run("deploy", [sys.executable, "-c", "import sys; sys.exit('no such pool')"], os.environ)


def test_below_nohup_the_end_of_a_terminal_ends_nothing() -> None:
    code = (
        "import os, signal; from mmesid.servers import processes, up\n"
        "for deaf in (signal.SIG_IGN, signal.SIG_DFL):\n"
        "    signal.signal(signal.SIGHUP, deaf)\n"
        "    processes.take_ends(up.interrupt)\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGHUP)\n"
        "        print('goes on')\n"
        "    except KeyboardInterrupt:\n"
        "        print('ends')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["goes on", "ends", ""]


SUPERVISED = f"""
import os, sys
from pathlib import Path
from mmesid.servers.services import Service, Services
from mmesid.servers.up import interrupt
import signal
for name in (signal.SIGTERM, signal.SIGINT):  # a shell's background jobs are born deaf to SIGINT
    signal.signal(name, interrupt)
with Services(Path(sys.argv[1]), print) as services:
    services.start(Service("worker", [sys.executable, "-c", {ORPHAN!r}], dict(os.environ), lambda: True))
    print("started", flush=True)
    services.watch()
"""


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_survives_the_end_of_the_first(tmp_path: Path, by: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT / 'src'}{os.pathsep}{PROJECT}"}
    mark = {"MMESID_SERVICES": str(tmp_path)}
    command = [sys.executable, "-c", SUPERVISED, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as up:
        assert up.stdout is not None
        assert up.stdout.readline() == "started\n"
        wait_until(lambda: len(processes.marked(mark)) == 2)
        up.send_signal(by)
        up.wait(60)
    wait_until(lambda: not processes.marked(mark))


def test_what_a_killed_one_has_left_is_ended_by_the_next(tmp_path: Path) -> None:
    mark = {"MMESID_SERVICES": str(tmp_path)}
    said: list[str] = []
    with subprocess.Popen([sys.executable, "-c", SLEEP], env={**os.environ, **mark}):
        wait_until(lambda: processes.marked(mark))
        with Services(tmp_path, said.append):
            pass
    assert said == ["ended 1 processes that a killed `mmesid up` had left"]


def test_a_taken_port_is_named_before_anything_starts(listener: int, port: int) -> None:
    check_ports("127.0.0.1", {"--prefect-port": port})
    with pytest.raises(ServiceError, match=rf"--mlflow-port {listener} at 127\.0\.0\.1: Address already in use"):
        check_ports("127.0.0.1", {"--prefect-port": port, "--mlflow-port": listener})
    with pytest.raises(ServiceError, match="name the same port"):
        check_ports("127.0.0.1", {"--prefect-port": port, "--mlflow-port": port})
    with pytest.raises(ServiceError, match="no such address"):
        check_ports("nowhere.invalid", {"--prefect-port": port})


FULL = dict(zip(access.ACCESS, ("me:a long password", "me", "another long one"), strict=True))


def test_others_are_let_in_only_with_passwords() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.2"):
        access.check_access(host, {})
    with pytest.raises(ServiceError, match="must ask for a password: set PREFECT_SERVER_API_AUTH_STRING, MLFLOW_TRACK"):
        access.check_access("192.0.2.7", {})
    access.check_access("192.0.2.7", FULL)
    for name in access.ACCESS:
        with pytest.raises(ServiceError, match=name):
            access.check_access(
                "192.0.2.7", {**FULL, name: "short"} if name != access.ACCESS[1] else {**FULL, name: ""}
            )
    with pytest.raises(ServiceError, match="name the one address"):
        access.check_access("0.0.0.0", FULL)


def test_the_servers_keep_their_state_here_and_their_secrets_out_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in FULL.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:////a/persons/own.db")
    options = Options(host="192.0.2.7", prefect_port=1, mlflow_port=2)
    databases = postgres.addresses("postgresql://me:hush@db:5432")
    prefect, mlflow = (make(options, tmp_path, databases) for make in (stack.prefect, stack.mlflow))
    worker = stack.worker(options, tmp_path)
    for service in (prefect, mlflow, worker):
        assert not [word for word in service.command if any(s in word for s in ("hush", "password", "another long"))]
        assert service.environment["PREFECT_HOME"] == str(tmp_path / ".prefect")
    assert prefect.environment["PREFECT_SERVER_UI_API_URL"] == "http://192.0.2.7:1/api"
    assert prefect.environment["PREFECT_API_DATABASE_CONNECTION_URL"].startswith("postgresql+asyncpg://me:hush@db")
    assert "PREFECT_SERVER_DATABASE_CONNECTION_URL" not in prefect.environment
    assert "basic-auth" in mlflow.command
    assert mlflow.environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql+psycopg2://me:hush@db:5432/mmesid_mlflow"
    assert worker.environment["MLFLOW_TRACKING_URI"] == "http://192.0.2.7:2"
    assert worker.environment["PREFECT_API_AUTH_STRING"] == FULL[access.ACCESS[0]]
    assert "hush" not in str(worker.environment)


def test_a_tracking_server_that_runs_already_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:5000")
    with pytest.raises(ServiceError, match="names a server already"):
        stack.local_store(tmp_path)


@pytest.mark.parametrize("url", ["", "mysql://me:secret@db", "postgresql://db", "postgresql://me:secret@db:port"])
def test_what_is_no_address_of_postgres_is_said_without_its_password(url: str) -> None:
    with pytest.raises(ServiceError, match="--postgres must be") as caught:
        postgres.check(url)
    assert "secret" not in str(caught.value)


def test_a_postgres_out_of_reach_is_said_without_its_password(port: int) -> None:
    with pytest.raises(ServiceError, match="Connection refused") as caught:
        postgres.prepare(f"postgresql://me:secret@127.0.0.1:{port}")
    assert "secret" not in str(caught.value)


def test_postgres_addresses_suit_each_driver() -> None:
    made = postgres.addresses("postgresql://me:p%40ss@db:5432/first?sslmode=require")
    assert made.prefect == "postgresql+asyncpg://me:p%40ss@db:5432/mmesid_prefect?ssl=require"
    assert made.mlflow == "postgresql+psycopg2://me:p%40ss@db:5432/mmesid_mlflow?sslmode=require"


def test_every_dataset_has_a_deployment_on_a_schedule(tmp_path: Path) -> None:
    listed = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert [deployment["name"] for deployment in listed] == config.datasets(PROJECT)
    (tmp_path / "prefect.yaml").write_text((PROJECT / "prefect.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "params.yaml").write_text("datasets: [toys, sample]\n", encoding="utf-8")
    made = yaml.safe_load(deployments.write(tmp_path).read_text(encoding="utf-8"))
    for deployment, name in zip(made["deployments"], ["toys", "sample"], strict=True):
        assert (deployment["name"], deployment["parameters"]) == (name, {"datasets": [name]})
        assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
        assert deployment["work_pool"] == {"name": prefect_api.POOL}
        assert deployment["schedules"][0]["cron"]
        assert deployments.tag(tmp_path) in deployment["tags"]


def deployment(root: Path, name: str, **more: object) -> dict[str, Any]:
    made = {
        "name": name,
        "id": f"id of {name}",
        "parameters": {"datasets": [name]},
        "tags": [name, deployments.tag(root)],
    }
    return {**made, **more}


def test_only_what_a_removed_dataset_has_left_behind_is_taken_down(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("datasets: [toys]\n", encoding="utf-8")
    found = [
        deployment(tmp_path, "toys"),
        deployment(tmp_path, "gone"),
        deployment(tmp_path, "weekly", parameters={"datasets": ["gone"]}),  # a person's own
        deployment(tmp_path, "other", tags=["other", "checkout-0123"]),
    ]
    assert deployments.outlived(found, tmp_path) == {"gone": "id of gone"}


def test_a_removed_dataset_is_not_retrained_any_more(server: None, tmp_path: Path) -> None:
    import httpx
    from prefect.settings import PREFECT_API_URL

    (tmp_path / "params.yaml").write_text("datasets: [toys]\n", encoding="utf-8")
    api = str(PREFECT_API_URL.value())
    with httpx.Client(base_url=api, timeout=30, trust_env=False) as prefect:
        flow = prefect.post("/flows/", json={"name": "retrain"}).json()["id"]
        for name in ("toys", "gone"):
            schedule = {"schedule": {"cron": "0 3 * * *"}, "active": True}
            asked = deployment(tmp_path, name, flow_id=flow, schedules=[schedule])
            del asked["id"]
            made = prefect.post("/deployments/", json=asked).raise_for_status().json()["id"]
            prefect.post(f"/deployments/{made}/schedule", json={}).raise_for_status()

        def scheduled() -> set[str]:
            wanted = {"flow_runs": {"tags": {"all_": [deployments.tag(tmp_path)]}}}
            runs = prefect.post("/flow_runs/filter", json=wanted).raise_for_status().json()
            return {dataset for run in runs for dataset in run["parameters"]["datasets"]}

        assert scheduled() == {"toys", "gone"}
        assert prefect_api.take_down_outlived(api, tmp_path) == ["gone"]
        assert scheduled() == {"toys"}
        assert prefect_api.take_down_outlived(api, tmp_path) == []


@pytest.fixture
def checkout(tmp_path: Path, project_copy: Callable[[Path], Path]) -> Path:
    return project_copy(tmp_path / "checkout")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "192.0.2.7"], "must ask for a password"),
        (["--prefect-port", "7", "--mlflow-port", "7"], "name the same port"),
        (["--postgres", "mysql://me:secret@db"], "--postgres must be postgresql://"),
        (["--artifacts-destination", "s3://me:secret@bucket"], "--artifacts-destination must be s3://BUCKET/PREFIX"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(
    checkout: Path, port: int, arguments: list[str], message: str
) -> None:
    code = "import sys; from mmesid.commands.cli import main; sys.argv[0] = 'mmesid'; main()"
    chosen = [] if "--prefect-port" in arguments else ["--prefect-port", str(port), "--mlflow-port", str(port + 1)]
    environment = {**os.environ, "PYTHONPATH": f"{checkout / 'src'}{os.pathsep}{checkout}"}
    command = [sys.executable, "-c", code, "up", *chosen, *arguments]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert "secret" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not list((checkout / "mlruns" / "services").glob("*.log"))


def test_a_second_one_in_the_same_checkout_is_refused(checkout: Path) -> None:
    from mmesid.servers.up import up

    with (
        hold(checkout / "mlruns" / "services" / ".lock"),
        pytest.raises(ServiceError, match=r"already, or is just ending \(process"),
    ):
        up(Options(), checkout)
