"""A stage's run: what it logs goes to its journal and moves its progress bar; a child process does the sending."""

import contextlib
import hashlib
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmesid.config import flatten
from mmesid.errors import TrainingError, faults
from mmesid.host import outside_hooks
from mmesid.models import backbone_label
from mmesid.tracking.journal import Entry, Journal
from mmesid.tracking.moving import checkout_of
from mmesid.tracking.progress import Progress

if TYPE_CHECKING:
    from mmesid.config import Config

FLUSH_SECONDS = 45.0  # that a stage waits, at most, for its last lines to arrive
SHAPED, DEFAULT = ("init_codes", "finetune", "evaluate"), "embedded"  # runs that say which backbone, if not this one
NAME_LENGTH = 100  # characters of an execution's name
STOP_SECONDS = 8.0  # likewise, where it was interrupted
# What runs of an ablation carry: they are apart from the dataset's own, in an experiment that the second one names.
ABLATION, EXPERIMENT = "MMESID_ABLATION", "MMESID_EXPERIMENT"
SHOWN_ONLY = ("progress", "targets")  # feed the progress bar, and are no results


class StageRun:
    """What a stage logs to: `log(metrics, step)` while it runs, and parameters, artifacts and final metrics."""

    def __init__(self, stage: str, journal: Journal | None, shown: bool = True) -> None:
        self._stage = stage
        self._journal = journal
        self._progress = Progress(stage) if shown else None

    def __call__(self, metrics: Mapping[str, float], step: int) -> None:
        """Metrics of a step. The keys "progress" (0..1) and "targets" only move the progress bar.

        Raises:
            TrainingError: a loss is no finite number, after which no step can mend the weights.
        """
        if self._progress is not None:
            with contextlib.suppress(OSError):  # stderr may be a file on a full disk
                self._progress.update(metrics)
        results = {name: float(value) for name, value in metrics.items() if name not in SHOWN_ONLY}
        if results:
            self._append({"metrics": results, "step": int(step)})
        for name, value in results.items():
            if "loss" in name and not math.isfinite(value):
                raise TrainingError(faults.diverged(self._stage, f"{name} is {value} at step {step}"))

    def params(self, values: Mapping[str, Any]) -> None:
        """Facts about the run beside its section of the parameters; nested mappings are flattened."""
        self._append({"params": {name: str(value) for name, value in flatten(values)}})

    def summary(self, metrics: Mapping[str, Any]) -> None:
        """Final metrics; nested mappings are flattened (`test.mme_sid.mrr`), what is not a number is left out."""
        results = {name: float(value) for name, value in flatten(metrics) if isinstance(value, Real)}
        self._append({"metrics": results, "step": 0})

    def artifact(self, path: Path) -> None:
        """A file that belongs to the run, as it is now."""
        if self._journal is not None:
            with self._survives():
                self._journal.keep(path)

    def close(self, status: str, error: str | None = None) -> None:
        """End the run: FINISHED, FAILED or KILLED."""
        if self._progress is not None:
            with contextlib.suppress(OSError):
                self._progress.close()
        self._append({"end": status, "error": error})

    def _append(self, entry: Entry) -> None:
        if self._journal is not None:
            with self._survives():
                self._journal.append(entry)

    @contextlib.contextmanager
    def _survives(self) -> Iterator[None]:
        """A full disk costs the log, not the training."""
        try:
            yield
        except OSError as problem:
            self._journal = None
            warn(f"nothing more is logged, the journal cannot be written: {problem}")


@contextlib.contextmanager
def stage_run(
    stage: str, config: "Config", root: Path = Path(), environment: Mapping[str, str] = os.environ
) -> Iterator[StageRun]:
    """The run of a stage: FINISHED, FAILED with the error's text, or KILLED when it is interrupted.

    Args:
        stage: name of the stage; its section of the parameters becomes the run's params.
        config: parameters of the dataset.
        root: the project's folder.
        environment: where the variables of the execution, of the ablation and of the experiment are looked up.
    """
    journal = _open(stage, config, root, environment)
    sender = _start_sender(journal, root)
    run, patience = StageRun(stage, journal), FLUSH_SECONDS
    try:
        yield run
    except BaseException as error:
        patience = FLUSH_SECONDS if isinstance(error, Exception) else STOP_SECONDS
        run.close("FAILED" if isinstance(error, Exception) else "KILLED", f"{type(error).__name__}: {error}")
        raise
    else:
        run.close("FINISHED")
    finally:
        _finish(sender, patience)
        if journal is not None:
            journal.close()


@contextlib.contextmanager
def silent_run(stage: str) -> Iterator[StageRun]:
    """A run that logs nothing: of a process whose results another one reports."""
    yield StageRun(stage, None, shown=False)


def execution(environment: Mapping[str, str] = os.environ) -> str:
    """Name of this pipeline execution: `MMESID_EXECUTION`, else the dvc process above this one, else this process."""
    return named_execution(environment) or _dvc_above() or f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


def named_execution(environment: Mapping[str, str] = os.environ) -> str:
    """`MMESID_EXECUTION` as it names a folder and as MLflow searches for it: what neither takes, like the slash of a
    branch, becomes an underscore. Empty where it is not set.
    """
    return re.sub(r"[^\w.-]", "_", environment.get("MMESID_EXECUTION", "")).lstrip(".")[:NAME_LENGTH]


def provenance(root: Path = Path()) -> dict[str, str]:
    """Tags that say what a result was made from: git commit, sha256 of dvc.lock, Prefect flow run, checkout."""
    tags = {}
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(root.absolute()), "rev-parse", "HEAD"]
        git = subprocess.run(command, env=outside_hooks(), capture_output=True, text=True, timeout=10, check=True)
        tags["mlflow.source.git.commit"] = git.stdout.strip()
    with contextlib.suppress(OSError):
        tags["mmesid.dvc_lock"] = hashlib.sha256((root / "dvc.lock").read_bytes()).hexdigest()
    if flow_run := os.environ.get("MMESID_FLOW_RUN_ID"):
        tags["mmesid.flow_run"] = flow_run
    return {**tags, "mmesid.checkout": checkout(root)}


def checkout(root: Path = Path()) -> str:
    """Short name of this folder on this machine: several checkouts may log to one server."""
    return checkout_of(root.absolute().resolve())


def warn(message: str) -> None:
    """A line on stderr that is not an error; where stderr is a file on a full disk, it is lost."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"warning: {message}\n")
        sys.stderr.flush()


def _open(stage: str, config: "Config", root: Path, environment: Mapping[str, str]) -> Journal | None:
    section = config.model_dump(by_alias=True).get(stage, {})
    params = {name: str(value) for name, value in flatten({"seed": config.seed, **section})}
    start = config.init_codes
    backbone = backbone_label(start.backbone, start.layers, start.weights)
    tags = {"mmesid.dataset": config.dataset, "mmesid.stage": stage, "mmesid.backbone": backbone}
    if ablation := environment.get(ABLATION):
        tags |= {"mmesid.ablation": ablation, "mmesid.seed": str(config.seed)}
    header = {
        "dataset": config.dataset,
        "experiment": environment.get(EXPERIMENT) or config.dataset,
        "stage": stage,
        "name": f"{stage} ({backbone})" if stage in SHAPED and backbone != DEFAULT else stage,
        "tags": {**tags, **provenance(root)},
        "digest": _catalogue_digest(config.dataset, root),
        "parameters": {name: str(value) for name, value in flatten(config.model_dump(by_alias=True))},
    }
    try:
        journal = Journal(root, execution(environment), f"{config.dataset}.{stage}", header)
        journal.append({"params": params})
    except OSError as problem:
        warn(f"nothing is logged, the journal cannot be written: {problem}")
        return None
    return journal


def _start_sender(journal: Journal | None, root: Path) -> "subprocess.Popen[bytes] | None":
    """The child reads the journal until its standard input ends, which it does even when this process is killed.

    A process, not a thread: importing mlflow takes seconds and would hold up the stage's own imports. In a session of
    its own, so that Ctrl-C reaches the stage alone and the child can still record how it ended.
    """
    if journal is None:
        return None
    command = [sys.executable, "-m", "mmesid.tracking", str(journal.path), str(root.absolute())]
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    except OSError as problem:
        warn(f"the journal stays pending, its sender does not start: {problem}")
        return None


def _finish(sender: "subprocess.Popen[bytes] | None", patience: float) -> None:
    if sender is None or sender.stdin is None:
        return
    sender.stdin.close()
    try:
        sender.wait(patience)
    except subprocess.TimeoutExpired:
        sender.kill()
        sender.wait()
        warn(f"the tracking store took longer than {patience:.0f} s; `mmesid log` sends the rest")


def _catalogue_digest(dataset: str, root: Path) -> str | None:
    """DVC's checksum of the ingested catalogue, where there is one."""
    import yaml

    try:
        lock = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))
        return str(lock["stages"][f"ingest@{dataset}"]["outs"][0]["md5"])
    except (OSError, LookupError, TypeError, yaml.YAMLError):
        return None


def _dvc_above() -> str | None:
    """Start time and id of the nearest dvc process above this one; None where there is none."""
    import psutil

    try:
        for process in psutil.Process().parents():
            if any(Path(word).name == "dvc" for word in process.cmdline()[:3]):
                started = time.localtime(process.create_time())
                return f"{time.strftime('%Y%m%d-%H%M%S', started)}-{process.pid}"
    except psutil.Error:
        return None
    return None
