"""A tiny world: a checkout whose only dataset is drawn and trained in two minutes, imports included."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from mmesid import config as configuration

NAME = "tiny"
RECIPE = {"users": 160, "items": 60}
CONF = {
    "encode_collaborative": {"dimension": 16, "blocks": 1, "epochs": 2},
    "encode_content": {"open_clip": {"dimension": 16, "epochs": 1, "batch_size": 32}},
    "tokenize": {"levels": 2, "codes": 8, "dimension": 8, "hidden": [16], "epochs": 5, "batch_size": 64},
    "init_codes": {
        "embedded": {"width": 32, "layers": 1, "heads": 2, "vocabulary": 300, "pretrain_steps": 4},
        "input_hidden": 16,
    },
    "finetune": {"rank": 2, "alpha": 4, "epochs": 2, "warmup_steps": 2, "checkpoint_steps": 1, "targets_per_step": 64},
    "baselines": {"content_transformer": {"dimension": 16, "hidden": 16, "blocks": 1, "epochs": 2}},
    "evaluate": {"bootstrap": 100, "forgetting_users": 50},
}
STARTED = re.compile(r"^Running stage '(\w+)(?:@\w+)?':")


class Trained(NamedTuple):
    """A tiny world whose every stage has run."""

    root: Path
    seconds: dict[str, float]  # of each stage


def make(root: Path) -> Path:
    """Turn a fresh checkout into the tiny world."""
    recipe = yaml.safe_load((root / "sources" / "sample" / "recipe.yaml").read_text(encoding="utf-8"))
    (root / "sources" / NAME).mkdir()
    write_yaml(root / "sources" / NAME / "recipe.yaml", {**recipe, **RECIPE})
    write_yaml(root / "conf" / f"{NAME}.yaml", CONF)
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    write_yaml(root / "params.yaml", {**params, "datasets": [NAME]})
    return root


def write_yaml(path: Path, value: object) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")


def with_environment(root: Path) -> Path:
    """The checkout, with an environment that `make` takes for built: this one."""
    (root / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):  # without the last Python finds no packages
        (root / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    (root / ".venv" / ".stamp").write_text(f"{root}\n", encoding="utf-8")
    (root / ".uv").mkdir()
    (root / ".uv" / ".stamp").touch()
    return root


def environment(root: Path) -> dict[str, str]:
    """This environment's commands and the checkout's code come first; one execution has one name."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}",
        "PYTHONUNBUFFERED": "1",
        "MMESID_EXECUTION": "test",
    }


def run(root: Path, *command: str, timeout: float = 600) -> "subprocess.CompletedProcess[str]":
    """A command in the checkout, whatever its exit status."""
    return subprocess.run(
        command,
        cwd=root,
        env=environment(root),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )


def repro(root: Path, *targets: str) -> dict[str, float]:
    """`dvc repro`, which must succeed. Returns the seconds of each stage that ran, in order."""
    command = ["dvc", "repro", *targets]
    seconds: dict[str, float] = {}
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=root, env=environment(root), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        stage, since = "", time.monotonic()
        for line in process.stdout or ():
            lines.append(line)
            if match := STARTED.match(line):
                seconds[stage] = time.monotonic() - since
                stage, since = match[1], time.monotonic()
        seconds[stage] = time.monotonic() - since
    assert process.returncode == 0, "".join(lines[-60:])
    seconds.pop("", None)
    return seconds


def configure(root: Path, dataset: str = NAME) -> None:
    """What the stage `configure` does, without a process; DVC does not learn of it."""
    path = configuration.resolved_path(dataset, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(configuration.resolved_text(dataset, root), encoding="utf-8")


def results(root: Path) -> dict[str, object]:
    """Hash of every output, as dvc.lock holds it."""
    lock = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage.get("outs", [])}


def processes(root: Path, stage: str) -> Iterator[int]:
    """Processes that run a stage of this checkout now. Linux only."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if f"mmesid.stages.{stage}".encode() in command and (folder / "cwd").readlink() == root:
                yield int(folder.name)
        except OSError:
            continue


def override(root: Path, changes: Mapping[str, Mapping[str, object]]) -> None:
    """Change values in conf/tiny.yaml."""
    path = root / "conf" / f"{NAME}.yaml"
    conf = yaml.safe_load(path.read_text(encoding="utf-8"))
    write_yaml(path, {**conf, **{section: {**conf.get(section, {}), **values} for section, values in changes.items()}})
