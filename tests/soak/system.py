"""`mmesid up` of one checkout as its user knows it: started, asked for a retrain in Prefect, stopped by Ctrl-C."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests import ports, tiny

READY = "Ctrl-C stops everything."
ENDING = "is just ending"
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
PATIENCE = 300.0  # seconds within which everything has started


class SoakError(Exception):
    """What no kill excuses."""


class System:
    """The servers of a checkout, on ports of their own."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root, self._log = root, log
        prefect, mlflow = ports.free(2)
        self._command = ["mmesid", "up", "--prefect-port", str(prefect), "--mlflow-port", str(mlflow)]
        self.prefect = httpx.Client(base_url=f"http://127.0.0.1:{prefect}/api", timeout=10, trust_env=False)
        self.address = f"http://127.0.0.1:{mlflow}"
        self.mlflow = httpx.Client(base_url=f"{self.address}/api/2.0/mlflow", timeout=10, trust_env=False)
        self._up: subprocess.Popen[bytes] | None = None
        self._begin = 0
        self.disturbed = False  # whether a fault has struck since its start

    @property
    def pid(self) -> int | None:
        """Of `mmesid up`, while it runs."""
        return self._up.pid if self._up is not None and self._up.poll() is None else None

    def said(self) -> str:
        """What it has printed since its start."""
        with self._log.open("rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")

    def start(self) -> None:
        """Start it, and wait for nothing."""
        self.disturbed = False
        with self._log.open("ab") as file:
            self._begin = file.tell()
            self._up = subprocess.Popen(
                self._command,
                cwd=self.root,
                env={name: value for name, value in tiny.environment(self.root).items() if name != "MMESID_EXECUTION"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ensure(self) -> None:
        """Make it run, as often as it takes while the one before is just ending.

        Raises:
            SoakError: it does not start.
        """
        end = time.monotonic() + PATIENCE
        while not (self.pid and READY in self.said()):
            if time.monotonic() > end:
                raise SoakError(f"`mmesid up` has not started after {PATIENCE:.0f} s:\n{self.said()}")
            if self.pid is None:
                if self._up is not None and self._up.returncode == 1 and READY not in self.said():
                    self._forgive()
                self.start()
            time.sleep(0.5)

    def stop(self) -> None:
        """Ctrl-C."""
        if self._up is not None and self.pid:
            self._up.send_signal(signal.SIGINT)
        self.ended(90)

    def ended(self, seconds: float) -> None:
        """Wait for its end."""
        if self._up is not None:
            try:
                self._up.wait(seconds)
            except subprocess.TimeoutExpired:
                raise SoakError(f"`mmesid up` does not end within {seconds:.0f} s") from None

    def ask(self, **parameters: Any) -> str:
        """Ask for a retrain, as the button in Prefect's pages does. Returns the flow run's id."""
        deployment = self._get(f"/deployments/name/retrain/{tiny.NAME}")["id"]
        body = {"parameters": {"datasets": [tiny.NAME], **parameters}}
        return str(self._post(f"/deployments/{deployment}/create_flow_run", body)["id"])

    def state(self, run: str) -> tuple[str, str]:
        """Type and message of a flow run's state; two empty texts while the server does not answer."""
        try:
            state = self._get(f"/flow_runs/{run}")["state"]
        except httpx.HTTPError:
            return "", ""
        return state["type"], state["message"] or ""

    def tasks(self, run: str) -> list[str]:
        """Names of a flow run's tasks so far."""
        try:
            found = self._post("/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        except httpx.HTTPError:
            return []
        return [task["name"] for task in found]

    def unsettled(self) -> list[str]:
        """Flow and task runs that are neither over nor scheduled for later, as text.

        Of a task behind one that has failed, `NotReady` is Prefect's last word, though a kind of pending.
        """
        open_ = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING", "PAUSED"]}}}
        flows = self._post("/flow_runs/filter", {"flow_runs": open_})
        tasks = self._post("/task_runs/filter", {"task_runs": open_})
        return [f"{run['name']} is {run['state_name']}" for run in (*flows, *tasks) if run["state_name"] != "NotReady"]

    def place(self, alias: str, version: str) -> bool:
        """Move an alias by hand, as MLflow's pages do. Returns whether there is that version."""
        body = {"name": f"mme-sid-{tiny.NAME}", "alias": alias, "version": version}
        return self.mlflow.post("/registered-models/alias", json=body).is_success

    def reap(self) -> None:
        """`mmesid reap` by hand: what nobody could report while something was broken is closed."""
        servers = {"PREFECT_API_URL": str(self.prefect.base_url).rstrip("/"), "MLFLOW_TRACKING_URI": self.address}
        subprocess.run(
            ["mmesid", "reap"],
            cwd=self.root,
            env={**tiny.environment(self.root), **servers},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )

    def take_away(self, alias: str) -> bool:
        """Delete an alias by hand. Returns whether MLflow did."""
        query = {"name": f"mme-sid-{tiny.NAME}", "alias": alias}
        return self.mlflow.delete("/registered-models/alias", params=query).is_success

    def _forgive(self) -> None:
        said = self.said()
        excused = self.disturbed or ENDING in said or "has ended with status -9" in said
        if "Error:" in said and not excused:
            raise SoakError(f"`mmesid up` does not start:\n{said}")
        time.sleep(1.0)

    def _get(self, path: str) -> Any:
        return self.prefect.get(path).raise_for_status().json()

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self.prefect.post(path, json=body).raise_for_status().json()


def kill(pid: int) -> bool:
    """SIGKILL. Returns whether it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_until(holds: Callable[[], object], seconds: float, what: str) -> None:
    """Raises SoakError after that many seconds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise SoakError(f"{what} within {seconds:.0f} s")
        time.sleep(0.2)
