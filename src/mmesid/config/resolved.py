"""A dataset's parameters after all overrides, as the stage `configure` writes them for DVC and the other stages."""

from pathlib import Path

import yaml

from mmesid.config.loading import check, load, read_sections
from mmesid.config.sections import Config
from mmesid.errors import ConfigError


def resolved_path(dataset: str, root: Path = Path()) -> Path:
    """Where they lie: `data/<dataset>/configure/params.yaml`."""
    return root / "data" / dataset / "configure" / "params.yaml"


def resolved_text(dataset: str, root: Path = Path()) -> str:
    """What `configure` would write now: `seed` and every section, as YAML; equal parameters give equal text.

    Raises:
        ConfigError: as `load`.
    """
    values = load(dataset, root).model_dump(by_alias=True, exclude={"dataset"})
    note = f"# Written by the stage `configure` from params.yaml and conf/{dataset}.yaml.\n"
    return note + yaml.safe_dump(values, allow_unicode=True)


def load_resolved(dataset: str, root: Path = Path()) -> Config:
    """Read what `configure` wrote: the parameters that DVC has recorded, whatever stands in `conf/` by now.

    Raises:
        ConfigError: `configure` has not run, or its file does not fit this version of the code.
    """
    path = resolved_path(dataset, root)
    command = f"`dvc repro configure@{dataset}` writes it"
    if not path.exists():
        raise ConfigError(f"{path} does not exist; {command}")
    return check(read_sections(path), dataset, f"{path} ({command})")


def load_run(dataset: str, root: Path = Path()) -> Config:
    """The parameters of what the pipeline has made, and the gate's limits of now: no stage reads those.

    Raises:
        ConfigError: as `load`, or `configure` wrote what does not fit this version of the code.
    """
    now = load(dataset, root)
    if not resolved_path(dataset, root).exists():  # outputs that were brought here without it
        return now
    return load_resolved(dataset, root).model_copy(update={"gate": now.gate})
