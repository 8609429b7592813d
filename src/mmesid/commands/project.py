"""The project that a command works in, and its flows, which are no installed package."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from mmesid.errors import ConfigError


def find_root() -> Path:
    """The project's folder: the working directory or the nearest above it that holds params.yaml and dvc.yaml."""
    start = Path.cwd()
    for folder in (start, *start.parents):
        if (folder / "params.yaml").exists() and (folder / "dvc.yaml").exists():
            return folder
    raise ConfigError(f"no params.yaml and dvc.yaml in {start} or above; run this in the project's folder")


def become_flow(name: str, *arguments: str) -> NoReturn:
    """Turn into `python -m flows.NAME`, which alone imports Prefect and defines its own options."""
    os.chdir(find_root())
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", f"flows.{name}", *arguments])
