"""The project that a command works in: its folder, its parameters, and its flows, which are no installed package."""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mmesid.errors import ConfigError

if TYPE_CHECKING:
    from mmesid.config import Config


def find_root() -> Path:
    """The project's folder: the working directory or the nearest above it that holds params.yaml and dvc.yaml.

    Raises:
        ConfigError: there is none, or the working directory is gone.
    """
    try:
        start = Path.cwd()
    except OSError:
        gone = 'the folder of this shell was removed or replaced: `cd` back into it (`cd "$PWD"`) and run again'
        raise ConfigError(gone) from None
    for folder in (start, *start.parents):
        if (folder / "params.yaml").exists() and (folder / "dvc.yaml").exists():
            return folder
    raise ConfigError(f"no params.yaml and dvc.yaml in {start} or above; run this in the project's folder")


def root_or_here() -> Path:
    """The project's folder, or the working directory where there is no project: for what must not fail.

    Where even that is gone, it is the folder of temporary files.
    """
    try:
        return find_root()
    except ConfigError:
        pass
    try:
        return Path.cwd()
    except OSError:
        return Path(tempfile.gettempdir())


def registered(name: str) -> str:
    """The name of a dataset whose model a command is about. What can be known is said before heavy packages load.

    Raises:
        ConfigError: `conf/` has no file for it; the message lists those that there are.
        TrackingError: MLflow's store cannot be used.
    """
    from mmesid import config, tracking  # they take a moment, which `--help` need not wait for

    root = find_root()
    config.check_conf(name, root)
    tracking.reach(root)
    return name


def settings(sections: Mapping[str, Any], dataset: str, where: str, root: Path) -> "Config":
    """The parameters of a dataset whose conf would have these sections, over those of params.yaml.

    Raises:
        ConfigError: a key or value is wrong; the message begins with `where`.
    """
    from mmesid.config.loading import check, merge, read_sections

    defaults = read_sections(root / "params.yaml")
    defaults.pop("datasets", None)
    return check(merge(defaults, sections), dataset, where)


def become_flow(name: str, *arguments: str) -> NoReturn:
    """Turn into `python -m flows.NAME`, which alone imports Prefect and defines its own options.

    Raises:
        ServiceError: Prefect cannot use its folder, of which it would tell amid its import.
    """
    from mmesid.servers import reachable

    os.chdir(find_root())
    reachable.check_home(Path())
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", f"flows.{name}", *arguments])
