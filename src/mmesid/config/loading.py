"""The parameters of a dataset from its files, and what is said where they are wrong."""

import copy
import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mmesid.config.sections import Config
from mmesid.errors import ConfigError, first_line

ABLATIONS = "ablations"  # conf/ablations.yaml names no dataset
NAME = re.compile(r"[\w.-]+")  # what neither a shell nor a path takes apart
MOVED = {  # where a key that older files name stands now
    "evaluate.exclude_history": "protocol.exclude_history",
    "encode_collaborative.history_length": "protocol.history_length",
    "finetune.history_length": "protocol.history_length",
}


def load(dataset: str, root: Path = Path()) -> Config:
    """Read the parameters of `dataset`: `params.yaml`, overridden by `conf/<dataset>.yaml`.

    Args:
        dataset: name of a file in `conf/`, without the ending.
        root: the project's folder.

    Raises:
        ConfigError: a file is missing or not YAML, a key is unknown or missing, a value has a wrong type or range.
    """
    params = read_sections(root / "params.yaml")
    override_path = check_conf(dataset, root)
    params.pop("datasets", None)
    return check(merge(params, read_sections(override_path)), dataset, f"params.yaml or conf/{dataset}.yaml")


def check_conf(dataset: str, root: Path = Path()) -> Path:
    """The file of a dataset's own parameters.

    Raises:
        ConfigError: it does not exist; the message lists the datasets that have one.
    """
    names = known_datasets(root)
    if dataset == ABLATIONS:
        raise ConfigError(f"conf/{ABLATIONS}.yaml names ablations, and is no dataset's (known: {', '.join(names)})")
    if dataset not in names:
        raise ConfigError(
            f"dataset '{dataset}' has no conf/{dataset}.yaml (known: {', '.join(names) or 'none'}); "
            f"`mmesid add {dataset} --files PATH` writes it"
        )
    return root / "conf" / f"{dataset}.yaml"


def known_datasets(root: Path = Path()) -> list[str]:
    """Names of the datasets that have a file in `conf/`."""
    return sorted(path.stem for path in (root / "conf").glob("*.yaml") if path.stem != ABLATIONS)


def datasets(root: Path = Path()) -> list[str]:
    """Names of the datasets that `dvc repro` runs, from `datasets` in `params.yaml`; DVC, too, counts a name once."""
    names = read_sections(root / "params.yaml").get("datasets")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        quote = " (a name that YAML reads as something else, like 2024 or on, needs quotes)"
        raise ConfigError(f"params.yaml: `datasets` must be a list of names, like [sample]; it is {names!r}{quote}")
    if wrong := [name for name in names if not NAME.fullmatch(name)]:
        raise ConfigError(f"params.yaml: {wrong[0]!r} cannot name a dataset: use letters, digits, `-`, `_` and `.`")
    return list(dict.fromkeys(names))


def check(values: dict[str, Any], dataset: str, where: str) -> Config:
    """The parameters as frozen sections.

    Args:
        values: `seed` and every section.
        dataset: whose they are.
        where: the file to change, for the error.

    Raises:
        ConfigError: a key is unknown or missing, a value has a wrong type or range.
    """
    try:
        return Config.model_validate({**values, "dataset": dataset})
    except ValidationError as error:
        raise ConfigError("\n".join([f"{where}:", *(f"  {_say(problem)}" for problem in error.errors())])) from None


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings, their keys joined by dots; an empty one is a leaf."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def read_sections(path: Path) -> dict[str, Any]:
    """A YAML file of sections; one that holds nothing but comments has none."""
    try:
        content = load_yaml(path)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; run from the project's folder") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold sections (`name: {{key: value}}`), not {type(content).__name__}")
    return content


def load_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        ConfigError: it is no YAML, holds a merge conflict, or a key stands twice in one of its sections, of which YAML
            takes the last in silence. The sentence names the line.
        FileNotFoundError: it does not exist.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not valid YAML: {first_line(error)}") from None
    if line := conflict_line(text):
        raise ConfigError(f"{path} holds merge conflict markers at line {line}; resolve them")
    try:
        return parsed(text)
    except yaml.MarkedYAMLError as error:
        at = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path} is not valid YAML{at}: {' '.join(str(error.problem).split())}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {first_line(error)}") from None


def parsed(text: str) -> Any:
    """What a text in YAML holds; raises yaml.YAMLError where it is none, or a key stands twice."""
    return copy.deepcopy(_parsed(text))


@functools.lru_cache(maxsize=16)
def _parsed(text: str) -> Any:
    """A command reads params.yaml and dvc.yaml some hundred times, at 70 ms each."""
    return yaml.load(text, _OnceEach)


def conflict_line(text: str) -> int | None:
    """The first line, counted from 1, at which git has left a merge conflict; None without one."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            return number
    return None


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """`override` wins, key by key; a section without anything below it (`report:`) overrides nothing."""
    merged = dict(base)
    for key, value in override.items():
        if isinstance(merged.get(key), dict) and isinstance(value, dict | None):
            merged[key] = merge(merged[key], value or {})
        else:
            merged[key] = value
    return merged


class _OnceEach(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, before anchors are merged into it, which may well repeat one."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            line, name = key.start_mark.line + 1, (key.tag, str(key.value))
            if name in seen:
                said = f"`{key.value}` stands twice, in line {seen[name]} too; keep one"
                raise yaml.composer.ComposerError(None, None, said, key.start_mark)
            seen[name] = line
        return node


# As DVC reads it, which writes 0.00001 so; YAML before 1.2, of which PyYAML is, took it for text.
_OnceEach.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def _say(problem: Any) -> str:
    if not problem["loc"]:  # sections that do not go together name their keys themselves
        return str(problem["ctx"]["error"])
    key = ".".join(str(part) for part in problem["loc"])
    if key in MOVED and problem["type"] == "extra_forbidden":
        return f"{key} is now {MOVED[key]}"
    return f"{key}: {_fault(problem)}"


def _fault(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return f"no such key.{_suggest(problem['loc'])}"
    if problem["type"] == "missing":
        return "this key is missing; every default stands in params.yaml"
    return f"{problem['msg']}; it is {problem['input']!r}"


def _suggest(location: tuple[int | str, ...]) -> str:
    """The nearest name among the section's keys, or all of them when none is near."""
    section: Any = Config
    for part in location[:-1]:
        field = next((f for n, f in section.model_fields.items() if part in (n, f.alias)), None)
        section = field.annotation if field is not None else Config
    names = [field.alias or name for name, field in section.model_fields.items()]
    near = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.5)
    return f" Did you mean `{near[0]}`?" if near else f" Known keys: {', '.join(names)}."


def split_names(text: str) -> list[str]:
    """Names of datasets between commas or spaces, as every command line takes them; a name counts once."""
    return list(dict.fromkeys(text.replace(",", " ").split()))


def check_datasets(names: Iterable[str], known: Iterable[str]) -> None:
    """Raises ConfigError where a name is not among the known ones."""
    known = sorted(known)
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"{', '.join(unknown)}: no such dataset among {', '.join(known) or 'none'}; `datasets` in params.yaml "
            "lists them, and `mmesid add NAME --files PATH` makes a new one"
        )
