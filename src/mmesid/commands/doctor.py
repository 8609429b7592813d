"""`mmesid doctor`: what is missing or wrong on this machine, and what to do about it, in one screen.

A check is a function of the project's folder that returns findings. It looks, it changes nothing, and it imports no
heavy package: where everything answers, the whole examination takes about two seconds. It calls fine what it has
tried; what it cannot try is a warning that says so.
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from mmesid import config, host
from mmesid.artifacts import packaged, source
from mmesid.commands import remote
from mmesid.commands.weights import lacking
from mmesid.errors import MmesidError, TrackingError, faults, first_line, without_secret
from mmesid.pipeline.mend import CONFLICT, RESOLVE, RWLOCK, lock_fault, rwlock_fault, unfinished
from mmesid.pipeline.repo import check_sources
from mmesid.tracking import journal, store, tracking_uri

PYTHONS = ((3, 11), (3, 13))  # oldest and newest that requirements.lock serves
SECONDS = 4  # that a service or a driver has for an answer
GIT_SECONDS = 10  # that git has to look at every file
LOCK_SECONDS = 2.0  # after which a lock that is held for moments is held too long
MEMORY_GB, DISK_GB = 6.0, 10.0  # what a run of the sample needs; what an environment and a few datasets need
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(?:;\s*([^\\]+?))?\s*\\?$")


class Finding(NamedTuple):
    """One line of the screen."""

    level: Literal["fine", "warning", "wrong"]
    subject: str
    detail: str
    remedy: str = ""


def examine(root: Path = Path()) -> list[Finding]:
    """Run every check; one that breaks is a finding itself."""
    findings: list[Finding] = []
    for subject, check in CHECKS.items():
        try:
            findings += check(root)
        except Exception as error:  # a broken machine must not hide its other faults
            findings.append(Finding("wrong", subject, faults.tell(error, root)))
    return findings


def check_python(root: Path) -> list[Finding]:
    """The interpreter's version, and whether it is the project's own."""
    version, oldest, newest = sys.version_info[:3], PYTHONS[0], PYTHONS[1]
    interpreter = f"{'.'.join(map(str, version))} in {sys.prefix}"
    if not oldest <= version[:2] <= newest:
        remedy = "use Python 3.11, 3.12 or 3.13: make clean repro PYTHON=python3.12"
        return [Finding("wrong", "python", interpreter, remedy)]
    own, on_path = Path(sys.prefix) / "bin" / "python", shutil.which("python")
    if on_path is None or not own.exists() or Path(on_path).absolute() != own.absolute():
        remedy = f"`dvc repro` alone would run {on_path or 'no Python'}: use `make repro`, or activate .venv first"
        return [Finding("warning", "python", interpreter, remedy)]
    return [Finding("fine", "python", interpreter)]


def check_environment(root: Path) -> list[Finding]:
    """Installed versions against requirements.lock, and whether `.venv` was built for this folder from this lock."""
    lock, stamp = root / "requirements.lock", root / ".venv" / ".stamp"
    differing = []
    pinned = read_lock(lock)
    for name, version in pinned.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = "missing"
        if installed != version:
            differing.append(f"{name} {installed} (lock: {version})")
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        detail = ", ".join(differing[:3]) + more
        return [Finding("wrong", "packages", detail, "`make repro` rebuilds .venv from requirements.lock")]
    as_locked = Finding("fine", "packages", f"{len(pinned)} as in requirements.lock")
    if Path(sys.prefix).resolve() == (root / ".venv").resolve() and not _fresh(stamp, root):
        remedy = "the next `make repro` renews it"
        return [as_locked, Finding("warning", ".venv", "older than the lock, or built elsewhere", remedy)]
    return [as_locked]


def read_lock(path: Path) -> dict[str, str]:
    """Name -> version of every package that requirements.lock wants on this machine."""
    from packaging.markers import Marker

    matches = (PINNED.match(line) for line in path.read_text(encoding="utf-8").splitlines())
    pins = [match.groups() for match in matches if match]
    return {name: version for name, version, marker in pins if not marker or Marker(marker).evaluate()}


def check_machine(root: Path) -> list[Finding]:
    """Cores, memory and disk."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    free = shutil.disk_usage(root.absolute()).free / 2**30
    low_memory, low_disk = memory < MEMORY_GB, free < DISK_GB
    folders = [folder for folder in (root, root / "data", root / "reports", root / "mlruns") if folder.exists()]
    locked = [folder.absolute() for folder in folders if not os.access(folder, os.W_OK)]
    return [
        *(Finding("wrong", "disk", f"{folder} is not writable", f"chmod u+w {folder}") for folder in locked),
        Finding(
            "warning" if low_memory else "fine",
            "memory",
            f"{memory:.0f} GB, {os.cpu_count()} cores",
            f"the sample needs {MEMORY_GB:.0f} GB" if low_memory else "",
        ),
        Finding(
            "warning" if low_disk else "fine",
            "disk",
            f"{free:.0f} GB free",
            f"keep {DISK_GB:.0f} GB free; `dvc gc --workspace` drops results that no file names" if low_disk else "",
        ),
    ]


def check_gpu(root: Path) -> list[Finding]:
    """Every GPU that the driver sees."""
    if not shutil.which("nvidia-smi"):
        return [Finding("fine", "gpu", "none: stages run on the CPU, which does for small backbones")]
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    done = _run(query, SECONDS)
    if done.returncode:
        problem = first_line(done.stdout + done.stderr)
        return [Finding("wrong", "gpu", problem, "the driver does not answer; MMESID_DEVICE=cpu trains without it")]
    return [Finding("fine", "gpu", line.strip()) for line in done.stdout.splitlines()]


def check_git(root: Path) -> list[Finding]:
    """DVC finds the project through git, and runs are tagged with the commit."""
    if not shutil.which("git"):
        return [Finding("wrong", "git", "not installed", "install git: DVC needs it")]
    command = ["git", "-C", str(root.absolute()), "describe", "--always", "--dirty"]
    done = _run(command, GIT_SECONDS)
    if done.returncode:
        own = [line.strip() for line in done.stderr.splitlines() if line.strip().startswith("git config ")]
        remedy = own[0] if own else "`git status` must work: clone the project, or run `git init` and commit"
        return [Finding("wrong", "git", first_line(done.stderr), remedy)]
    return [Finding("fine", "git", f"commit {done.stdout.strip()}")]


def _run(command: list[str], seconds: float) -> "subprocess.CompletedProcess[str]":
    """What a program says, in English. One that takes longer is killed, and left: a wedged driver lets none end."""
    environment, pipe = {**host.outside_hooks(), "LC_ALL": "C"}, subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)
    try:
        said, complained = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
        return subprocess.CompletedProcess(command, 124, "", f"{command[0]} does not answer within {seconds} s")
    return subprocess.CompletedProcess(command, process.returncode, said, complained)


def check_dvc(root: Path) -> list[Finding]:
    """Whether results can leave this machine."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read([root / ".dvc" / "config", root / ".dvc" / "config.local"])
    if not (root / ".dvc" / "config").exists():
        return [Finding("wrong", "dvc", "no .dvc/config", "restore it from git: `git checkout .dvc`")]
    if fault := lock_fault(root):
        remedy = RESOLVE if fault == CONFLICT else "`mmesid mend`, then `dvc repro` restores what was done"
        return [Finding("wrong", "dvc", f"dvc.lock {fault}", remedy)]
    if fault := rwlock_fault(root):
        return [Finding("wrong", "dvc", f"{RWLOCK} {fault}", "`mmesid mend` removes it, and nothing is lost")]
    check_sources(root)
    if unfinished(root):
        return [Finding("wrong", "dvc", "its run cache holds unfinished entries", "`mmesid mend` removes them")]
    name = settings.get("core", "remote", fallback="")
    if not name:
        remedy = "`mmesid remote PATH` or `mmesid remote s3://bucket/prefix`, then `dvc push`, shares them"
        return [Finding("warning", "dvc remote", "none: results are kept on this machine only", remedy)]
    section = f"'remote \"{name}\"'"
    url = settings.get(section, "url", fallback="")
    if not url:
        return [Finding("wrong", "dvc remote", f"'{name}' has no url", f"dvc remote add --default {name} URL")]
    fault, shown = remote.fault(dict(settings[section]), root), f"{name} ({without_secret(url)})"
    if fault is None:
        return [Finding("warning", "dvc remote", f"{shown} is not tried", "`dvc status --cloud` tries it")]
    if fault:
        remedy = "mend it, or name another place: `mmesid remote PATH` or `mmesid remote s3://bucket/prefix`"
        return [Finding("wrong", "dvc remote", f"{shown} {fault}", remedy)]
    return [Finding("fine", "dvc remote", shown)]


def check_tracking(root: Path) -> list[Finding]:
    """Whether MLflow's store can be used, which is tried, and what is still to be sent to it."""
    uri = tracking_uri(root)
    findings, lock = [_check_store(uri)], journal.mlruns(root) / host.OF_FOLDER
    if not host.is_free(lock, LOCK_SECONDS):
        remedy = "whoever logs or asks waits for it: end it, unless it works"
        findings.append(Finding("wrong", "tracking", f"{lock} is held by {host.holder(lock)}", remedy))
    if waiting := len(journal.pending(root)):
        remedy = "`mmesid log` sends them"
        findings.append(Finding("warning", "tracking", f"{waiting} journals of stages are not sent yet", remedy))
    return findings


def _check_store(uri: str) -> Finding:
    shown, path = without_secret(uri), store.sqlite_path(uri)
    remedy = "trainings go on without it, and `mmesid log` sends later"
    try:
        store.reach(uri)
    except TrackingError as error:
        return Finding("wrong", "tracking", str(error), remedy)
    if path and (fault := host.unwritable(path)):
        return Finding("wrong", "tracking", f"{shown} can be read, but not written ({fault})", remedy)
    return Finding("fine", "tracking", shown if uri.startswith("http") else f"{shown} (`make ui` opens it)")


def check_prefect(root: Path) -> list[Finding]:
    """Whether the server that flows report to answers; without PREFECT_API_URL a flow starts one of its own."""
    from mmesid.servers import reachable

    try:
        reachable.check_prefect(root)
    except MmesidError as error:
        return [Finding("wrong", "prefect", str(error), "`dvc repro` needs none; `mmesid retrain` and `mmesid up` do")]
    api, _ = reachable.api_of(root)
    return [Finding("fine", "prefect", without_secret(api) if api else "each retrain starts a server of its own")]


def check_datasets(root: Path) -> list[Finding]:
    """Parameters, source and result of each dataset that `dvc repro` runs."""
    findings = []
    for name in config.datasets(root):
        subject = f"dataset {name}"
        try:
            parameters = config.load(name, root)
        except MmesidError as error:
            findings.append(Finding("wrong", subject, str(error), "correct the key that it names"))
            continue
        folder = root / "sources" / name
        done = (root / "reports" / name / "metrics.json").exists()
        if needed := source.missing(folder, root):
            gone = f"{folder} points to {folder.readlink()}, which is gone" if folder.is_symlink() else f"no {folder}"
            detail = f"the source is not here ({gone}); nothing that is up to date needs it" if done else gone
            remedy = "`mmesid sources` asks its address" if parameters.ingest.source == "amazon" else needed
            findings.append(Finding("warning" if done else "wrong", subject, detail, remedy))
            continue
        if folder.is_symlink():
            remedy = f"`mmesid add {name} --files {folder.readlink()} --force` has DVC track it; conf/{name}.yaml stays"
            findings.append(Finding("warning", subject, f"{folder} is a link, which no clone gets", remedy))
        detail = f"source {parameters.ingest.source}, backbone {parameters.init_codes.backbone}"
        remedy = "" if done else f'no result yet: make repro DATASETS="{name}"'
        findings.append(Finding("fine" if done else "warning", subject, detail, remedy))
    return findings


def check_weights(root: Path) -> list[Finding]:
    """Packaged weights that are installed, and those that a dataset names although they are not."""
    installed = [name for name in packaged.PACKAGED if packaged.find(name)]
    detail = ", ".join(installed) or "none of the packaged ones is installed; nothing needs them"
    findings = [Finding("fine", "weights", detail, "" if installed else "`mmesid weights --list` tells what there is")]
    for dataset in config.datasets(root):
        try:
            parameters = config.load(dataset, root)
        except MmesidError:
            continue  # the datasets' own check says so
        findings += [
            Finding("wrong", "weights", f"dataset {dataset} {what}, which is not installed", remedy)
            for what, remedy in lacking(parameters).items()
        ]
    return findings


def _fresh(stamp: Path, root: Path) -> bool:
    """As the Makefile judges it."""
    if not stamp.exists() or stamp.read_text(encoding="utf-8").strip() != str(root.absolute()):
        return False
    built_from = (root / "requirements.lock", root / "pyproject.toml")
    return all(stamp.stat().st_mtime >= path.stat().st_mtime for path in built_from)


CHECKS: dict[str, Callable[[Path], list[Finding]]] = {
    "python": check_python,
    "packages": check_environment,
    "memory": check_machine,
    "gpu": check_gpu,
    "git": check_git,
    "dvc": check_dvc,
    "tracking": check_tracking,
    "prefect": check_prefect,
    "datasets": check_datasets,
    "weights": check_weights,
}
