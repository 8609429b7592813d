"""One experiment: `dvc repro` of the checkout's code with other parameters, in a copy of it that shares DVC's cache.

The copy lies where `dvc exp run --temp` would put it, so that stages find the checkout that it belongs to. Unlike
DVC's own it stays when it is killed: what it had finished is there, and fine-tuning goes on from its last checkpoint.
What any run of the checkout has made with the same inputs comes from DVC's run cache. Nothing in the checkout changes.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mmesid.artifacts.files import load_json
from mmesid.artifacts.source import is_external
from mmesid.artifacts.store import EXPERIMENTS
from mmesid.artifacts.texts import save_text
from mmesid.pipeline.mend import mend
from mmesid.pipeline.repo import opened
from mmesid.pipeline.stage import run_dvc_stage

FOLDERS, FILES, LOCK = ("conf", "sources", "src"), ("dvc.yaml", ".dvcignore"), "dvc.lock"
READY = ".ready"  # the copy is whole
SPENT = ".spent.json"  # seconds in each stage so far, over all attempts
SAVE_SECONDS = 5.0  # between two notes of what was spent
STARTED = re.compile(r"^Running stage '(\w+)@")


def folder_of(name: str, root: Path) -> Path:
    """Where the experiment of a name runs."""
    return root.absolute().joinpath(*EXPERIMENTS, name)


def make(folder: Path, dataset: str, conf: str, root: Path) -> None:
    """Copy all that the pipeline reads, with other parameters. What a killed run has left there stays.

    Args:
        folder: of the experiment.
        dataset: its only one.
        conf: the text of conf/<dataset>.yaml.
        root: the checkout.
    """
    if not (folder / READY).exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with opened(root) as repo:
            _share_cache(folder, repo)
            _bring_lock(folder, root, repo)
    for name in FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in FILES:
        shutil.copyfile(root / name, folder / name)
    params = _only(dataset, (root / "params.yaml").read_text(encoding="utf-8"))
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    (folder / "conf").mkdir()
    (folder / "conf" / f"{dataset}.yaml").write_text(conf, encoding="utf-8")
    shutil.copytree(root / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    _bring_source(folder / "sources" / dataset, root.absolute() / "sources" / dataset)
    if not (folder / READY).exists() or (folder / READY).read_text(encoding="utf-8") != params + conf:
        (folder / SPENT).unlink(missing_ok=True)  # of other parameters
    (folder / READY).write_text(params + conf, encoding="utf-8")
    mend(folder)


def _only(dataset: str, params: str) -> str:
    """params.yaml with one dataset."""
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    content = parse_yaml_for_update(params, "params.yaml")
    content["datasets"] = [dataset]
    return str(dumps_yaml(content))


def _bring_source(place: Path, source: Path) -> None:
    """A record of a folder outside is copied, files are linked to: no stage writes to them."""
    place.parent.mkdir()
    if is_external(source):
        shutil.copytree(source, place, symlinks=True)
    elif source.exists():
        place.symlink_to(source.resolve(), target_is_directory=True)


def _share_cache(folder: Path, repo: Any) -> None:
    """By a relative path: what follows a `#`, as in the name of a folder above the project, DVC takes for a remark."""
    cache = os.path.relpath(repo.cache.local_cache_dir, folder.absolute() / ".dvc")
    kinds = repo.config["cache"].get("type")
    lines = ["[core]", "no_scm = true", "analytics = false", "autostage = false", "check_update = false"]
    lines += ["[cache]", f"dir = {cache}", *([f"type = {','.join(kinds)}"] if kinds else [])]
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _bring_lock(folder: Path, root: Path, repo: Any) -> None:
    """dvc.lock without stages whose outputs the cache lacks: for what a lock holds, DVC never asks its run cache."""
    if (root / LOCK).exists():
        lock = yaml.safe_load((root / LOCK).read_text(encoding="utf-8"))
        cached = {stage.addressing for stage in repo.index.stages if stage.outs_cached()}
        lock["stages"] = {name: entry for name, entry in lock.get("stages", {}).items() if name in cached}
        (folder / LOCK).write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")


def run(
    folder: Path, target: str, environment: Mapping[str, str], log: Callable[[str], object]
) -> dict[str, float | None]:
    """Bring a stage and all above it up to date.

    Args:
        folder: of the experiment.
        target: `evaluate@sample`.
        environment: variables for the stages.
        log: takes each line of output.

    Returns:
        Seconds of each stage that ran here, over all attempts.

    Raises:
        StageError: a stage ended with an error.
    """
    spent = _Spent(folder / SPENT)

    def hear(line: str) -> None:
        spent.hear(line)
        log(line)

    with spent:
        run_dvc_stage(target, folder, {"PYTHONPATH": str(folder / "src"), **environment}, False, hear, alone=False)
    return dict(spent.seconds)


class _Spent:
    """Seconds in each stage, written down every few seconds, so that a kill does not lose them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = dict(load_json(path)) if path.exists() else {}
        self._stage, self._since, self._saved = "", time.monotonic(), time.monotonic()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self._add()
        self._save()

    def hear(self, line: str) -> None:
        """A line of DVC's output, or a stage's."""
        self._add()
        if match := STARTED.match(line):
            self._stage = match[1]
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self._save()

    def _add(self) -> None:
        now = time.monotonic()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._since = now

    def _save(self) -> None:
        self._saved = time.monotonic()
        text = json.dumps(self.seconds)
        save_text(self.path, text)


def drop(folder: Path) -> None:
    """The experiment is over and its result kept: the copy goes. DVC's cache keeps what the stages wrote."""
    shutil.rmtree(folder, ignore_errors=True)
