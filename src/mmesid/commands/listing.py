"""`datasets` in params.yaml, edited as a person would: every other character of the file stays."""

import json
import re
from pathlib import Path

import yaml

from mmesid.artifacts.texts import save_text
from mmesid.errors import ConfigError


def enable_dataset(name: str, root: Path = Path()) -> None:
    """Name a dataset under `datasets` in params.yaml, leaving every other character of the file as it is.

    Raises:
        ConfigError: the list is not written in one of YAML's two plain forms.
    """
    path = root / "params.yaml"
    text = path.read_text(encoding="utf-8")
    names = yaml.safe_load(text).get("datasets") or []
    if name in names:
        return
    changed = _append(text, spelled(name))
    before, after = yaml.safe_load(text), yaml.safe_load(changed)
    if after != {**before, "datasets": [*names, name]}:
        raise ConfigError(f"params.yaml: `datasets` could not be edited; add `{name}` to the list by hand")
    save_text(path, changed)


def _append(text: str, name: str) -> str:
    """`datasets: [a]` or a block of `- a` lines, with one name more."""
    flow = re.compile(r"^(datasets:\s*\[)([^\]\n#]*)(\])", re.MULTILINE)
    if match := flow.search(text):
        listed = ", ".join(filter(None, [match[2].strip().rstrip(","), name]))
        return text[: match.start()] + match[1] + listed + match[3] + text[match.end() :]
    block = re.compile(r"^datasets:[^\S\n]*(?:#.*)?\n(?:([^\S\n]*)- .*\n|[^\S\n]*(?:#.*)?\n)*(?<=\n)", re.MULTILINE)
    if (match := block.search(text)) and match[1] is not None:
        end = text.rindex("- ", match.start(), match.end())
        line_end = text.index("\n", end) + 1
        return f"{text[:line_end]}{match[1]}- {name}\n{text[line_end:]}"
    return text


def spelled(name: str) -> str:
    """The name as YAML of every version reads it as text: `2024`, `on`, `1e5` and their like stand in quotes."""
    plain = name[0].isalpha() and yaml.safe_load(name) == name
    return name if plain else json.dumps(name)
