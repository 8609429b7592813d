"""A dataset's parameters after all overrides, as the stage `configure` writes them for DVC and the other stages."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from mmesid.config.loading import check, flatten, load, merge, parsed, read_sections
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


def without_effect(dataset: str, root: Path = Path()) -> list[str]:
    """What was changed in params.yaml since `configure` ran, and conf/<dataset>.yaml overrides: a line for each key.

    `dvc exp run -S finetune.epochs=2` writes to params.yaml, and would train what the dataset's own file says.

    Args:
        dataset: whose.
        root: the project's folder; its dvc.lock says what stood in params.yaml.
    """
    before = dict(flatten(_recorded(dataset, root)))
    defaults, own = read_sections(root / "params.yaml"), read_sections(root / "conf" / f"{dataset}.yaml")
    counts = dict(flatten(merge(defaults, own)))
    changed = {key: value for key, value in flatten(defaults) if key in before and value != before[key]}
    return [
        f"params.yaml has {key}: {value!r} now ({before[key]!r} before), but conf/{dataset}.yaml says {counts[key]!r}, "
        f"which counts (`dvc exp run -S conf/{dataset}.yaml:{key}=...` changes that)"
        for key, value in changed.items()
        if key in counts and counts[key] != value
    ]


def _recorded(dataset: str, root: Path) -> dict[str, Any]:
    """params.yaml as dvc.lock holds it for `configure`, of whose text no more is read; empty where it does not tell."""
    with suppress(OSError, ValueError, yaml.YAMLError, LookupError, TypeError):  # another dvc may be writing it
        text = (root / "dvc.lock").read_text(encoding="utf-8")
        entry = re.search(rf"^  configure@{re.escape(dataset)}:\n((?:    .*\n)+)", text, re.MULTILINE)
        return dict(parsed(entry[1])["params"]["params.yaml"]) if entry else {}
    return {}
