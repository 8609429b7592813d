"""`mmesid up` in a checkout of the tiny world: started, asked over HTTP as a person's browser would, stopped."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import yaml
from mlflow.tracking import MlflowClient

from mmesid.host import die_with_parent
from mmesid.servers import processes
from tests import ports, tiny

READY = "Ctrl-C stops everything."
OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Stack:
    """A checkout and its servers.

    Args:
        root: the checkout.
        options: of `mmesid up`, ports left out.
        variables: added to its environment, and to that of every command.
    """

    def __init__(self, root: Path, options: Sequence[str] = (), variables: Mapping[str, str] | None = None) -> None:
        self.root, self._options, self._variables = root, list(options), dict(variables or {})
        self._ports = ports.free(2)
        self.prefect, self.mlflow = (f"http://127.0.0.1:{port}" for port in self._ports)
        self._said = root.parent / f"{root.name}.up.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.tracking = MlflowClient(self.mlflow, self.mlflow)  # whatever else this process has set

    def up(self) -> None:
        """Start everything, and wait until it stands."""
        chosen = ["--prefect-port", str(self._ports[0]), "--mlflow-port", str(self._ports[1])]
        with self._said.open("wb") as said:
            command = ["mmesid", "up", *chosen, *self._options]
            self._process = subprocess.Popen(
                command,
                cwd=self.root,
                env={**tiny.environment(self.root), **self._variables},
                stdout=said,
                stderr=subprocess.STDOUT,
                preexec_fn=partial(die_with_parent, signal.SIGTERM),
            )
        self.until(lambda: READY in self.said() or not self.is_up(), 400)
        assert self.is_up(), self.said()

    def down(self) -> None:
        """Ctrl-C; nothing survives it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(90)
        self.is_gone()

    def is_up(self) -> bool:
        """Whether the supervisor lives."""
        return self._process is not None and self._process.poll() is None

    def is_gone(self) -> None:
        """Wait until no process is left."""
        self.until(lambda: not processes.marked(self.mark()), 60)

    def mark(self, **more: str) -> dict[str, str]:
        """The variables that every process of this checkout's services has."""
        return {"MMESID_SERVICES": str(self.root), **more}

    def kill(self, service: str) -> None:
        """SIGKILL to all processes of one service."""
        victims = processes.marked(self.mark(MMESID_SERVICE=service))
        assert victims
        for process in victims:
            process.kill()

    def said(self) -> str:
        """What `mmesid up` has printed since it was started last."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    def run(self, *command: str, root: Path | None = None) -> str:
        """A command, in this checkout or another one, as in a terminal where the servers' addresses were exported; it
        must succeed. Returns what it has said.
        """
        given = {"PREFECT_API_URL": f"{self.prefect}/api", "MLFLOW_TRACKING_URI": self.mlflow}
        where = root or self.root
        done = subprocess.run(
            command,
            cwd=where,
            env={**tiny.environment(where), **self._variables, **given},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}"
        return done.stdout

    def until(self, holds: Callable[[], Any], seconds: float) -> Any:
        """Wait for something to hold, and return it."""
        end = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < end, f"waited in vain; mmesid up has said:\n{self.said()[-3000:]}"
            time.sleep(0.5)
        return found

    # Prefect

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Prefect's answer; where its SQLite is locked (503), it is asked again, as by Prefect's own client."""
        for pause in (1, 2, 4, 8, 0):
            answer = httpx.request(method, f"{self.prefect}/api/{path}", json=body, timeout=60, trust_env=False)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(pause)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def flow_runs(self, *states: str) -> list[dict[str, Any]]:
        """Flow runs, those that began first first; of these states, if any is named."""
        chosen = {"flow_runs": {"state": {"type": {"any_": list(states)}}}} if states else {}
        return list(self.ask("POST", "flow_runs/filter", {**chosen, "sort": "START_TIME_ASC"}))

    def scheduled_run(self) -> str:
        """Wait until the schedule alone has set a run going, then pause it. Returns the run's id."""

        def fired() -> list[str]:
            return [run["id"] for run in self.flow_runs("RUNNING") if run["auto_scheduled"]]

        (identity,) = self.until(fired, 300)
        self.schedule(False)
        return str(identity)

    def schedule(self, active: bool) -> None:
        """Switch the schedule on or off; what it has planned so far is forgotten."""
        deployment = self.deployment()
        for schedule in deployment["schedules"]:
            self.ask("PATCH", f"deployments/{deployment['id']}/schedules/{schedule['id']}", {"active": active})
        for run in self.flow_runs("SCHEDULED"):
            self.ask("DELETE", f"flow_runs/{run['id']}")

    def deployment(self) -> dict[str, Any]:
        """The tiny world's."""
        return dict(self.ask("GET", f"deployments/name/retrain/{tiny.NAME}"))

    def end_of(self, flow_run: str) -> str:
        """Wait until a flow run is over. Returns the name of its state and its message."""
        state = self.until(lambda: self.is_over(flow_run), 600)
        return f"{state['name']}: {state['message']}"

    def is_over(self, flow_run: str) -> dict[str, Any] | None:
        """The state of a flow run that is over; None where it goes on, or Prefect does not say."""
        try:
            state = dict(self.ask("GET", f"flow_runs/{flow_run}")["state"])
        except httpx.HTTPError:
            return None
        return state if state["type"] in OVER else None

    def artifacts(self, flow_run: str) -> dict[str, str]:
        """Key -> id of the artifacts of a flow run."""
        query = {"artifacts": {"flow_run_id": {"any_": [flow_run]}}}
        return {made["key"]: made["id"] for made in self.ask("POST", "artifacts/filter", query)}

    def task_runs(self, flow_run: str) -> dict[str, str]:
        """Name -> state of a flow run's tasks."""
        query = {"flow_runs": {"id": {"any_": [flow_run]}}}
        return {run["name"]: run["state"]["type"] for run in self.ask("POST", "task_runs/filter", query)}

    # MLflow

    def runs(self, query: str) -> list[Any]:
        """Runs of the tiny world, newest first."""
        experiment = self.tracking.get_experiment_by_name(tiny.NAME).experiment_id
        return list(self.tracking.search_runs([experiment], query))

    def versions(self, model: str) -> list[Any]:
        """Versions of a registered model."""
        return list(self.tracking.search_model_versions(f"name = '{model}'"))

    def aliases(self, model: str) -> dict[str, str]:
        """Alias -> version."""
        return {alias: str(of) for alias, of in self.tracking.get_registered_model(model).aliases.items()}


def schedule_all_the_time(root: Path) -> None:
    """Every few seconds, in place of the hour at night that `prefect.yaml` names."""
    path = root / "prefect.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["deployments"][0]["schedules"] = [{"interval": 15, "timezone": "UTC", "active": True}]
    tiny.write_yaml(path, content)
