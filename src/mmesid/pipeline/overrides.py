"""Overrides of a retrain: `{"finetune.epochs": 2}` goes into conf/<dataset>.yaml, checked first, or not at all.

DVC judges by the files of the checkout, and a result belongs to the parameters that stand there. So an override stays:
were it taken back after the run, the next scheduled one would find the parameters changed and train the old model
again. `git diff conf` shows what was changed, and the run's artifact says so.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from mmesid import config
from mmesid.artifacts.texts import save_text
from mmesid.config import SECTIONS
from mmesid.config.loading import parsed
from mmesid.errors import ConfigError

Value = bool | int | float | str | None | list[Any]


def apply(overrides: Mapping[str, Value], datasets: Sequence[str], root: Path) -> list[str]:
    """Write the overrides into every dataset's file; if one of them is wrong, into none.

    Args:
        overrides: dotted key -> value, as in conf/<dataset>.yaml.
        datasets: whose.
        root: the project's folder.

    Returns:
        A line for each value that has changed.

    Raises:
        ConfigError: a key is none of a stage's section, or a value is not possible.
    """
    if not overrides:
        return []
    texts = {dataset: edited(overrides, dataset, root) for dataset in datasets}
    lines = []
    for dataset, text in texts.items():
        before = config.load(dataset, root).model_dump(by_alias=True)
        path = root / "conf" / f"{dataset}.yaml"
        changed = {key: value for key, value in overrides.items() if _at(before, key) != value}
        if changed:
            save_text(path, text)
        lines += [
            f"conf/{dataset}.yaml: {key} was {_at(before, key)!r}, is {value!r}" for key, value in changed.items()
        ]
    return lines


def parse(text: str) -> tuple[str, Value]:
    """`finetune.epochs=2` of a command line; the value is YAML.

    Raises:
        ConfigError: it is not written like that.
    """
    key, sign, value = text.partition("=")
    with suppress(yaml.YAMLError):
        if sign:
            return key, parsed(value)
    raise ConfigError(f"{text!r} must be SECTION.KEY=VALUE")


def edited(overrides: Mapping[str, Value], dataset: str, root: Path) -> str:
    """The text of conf/<dataset>.yaml with the overrides, comments kept, after the strict check of every section."""
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    path = root / "conf" / f"{dataset}.yaml"
    config.load(dataset, root)  # a file that is wrong already is not ours to change
    before = path.read_text(encoding="utf-8")
    remarks = before if yaml.safe_load(before) is None else ""  # the parser keeps those of a file with values only
    content = parse_yaml_for_update(before, str(path))
    for key, value in overrides.items():
        _set(content, key, value)
    text = remarks + str(dumps_yaml(content))
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder)
        (trial / "conf").mkdir()
        shutil.copyfile(root / "params.yaml", trial / "params.yaml")
        (trial / "conf" / path.name).write_text(text, encoding="utf-8")
        try:
            config.load(dataset, trial)
        except ConfigError as error:
            problems = str(error).partition("\n")[2] or str(error)
            raise ConfigError(f"overrides do not fit {dataset}:\n{problems}") from None
    return text


def _set(content: dict[str, Any], key: str, value: Value) -> None:
    first, *rest = key.split(".")
    if first not in SECTIONS or not rest or not all(rest):
        raise ConfigError(
            f"overrides: {key!r} must be SECTION.KEY, like finetune.epochs; sections: {', '.join(SECTIONS)}"
        )
    for part in (first, *rest[:-1]):
        if not isinstance(content.get(part), dict):
            content[part] = {}
        content = content[part]
    _put(content, rest[-1], value)


def _put(content: dict[str, Any], name: str, value: Any) -> None:
    """A mapping goes into the one that is there, key by key, as a conf goes over params.yaml."""
    if not isinstance(value, Mapping) or not isinstance(content.get(name), dict):
        content[name] = value
        return
    for part, below in value.items():
        _put(content[name], part, below)


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
