"""`mmesid add`: a folder becomes a dataset of this project: `sources/NAME`, `conf/NAME.yaml`, a name in `params.yaml`.

The folder is inspected first; nothing is written unless it can be read. Every file is written whole or not at all.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from mmesid.artifacts.files import write_atomically
from mmesid.config.loading import read_sections
from mmesid.errors import ConfigError, DataError

if TYPE_CHECKING:
    from mmesid.commands.inspection import Inspection

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


class Added(NamedTuple):
    """What `add` did."""

    source: Path  # sources/NAME, a link or a copy
    conf: Path  # conf/NAME.yaml
    enabled: bool  # whether `datasets` in params.yaml names it now
    inspection: "Inspection"


def add(
    name: str,
    files: Path,
    root: Path = Path(),
    copy: bool = False,
    force: bool = False,
    enable: bool = True,
    ingest: Mapping[str, Any] | None = None,
) -> Added:
    """Make the catalogue in `files` the dataset `name`.

    Args:
        name: of the dataset: lower-case letters, digits, `-` and `_`.
        files: folder with interactions, items and pictures.
        root: the project's folder.
        copy: copy the folder instead of linking to it.
        force: replace an existing dataset's link and conf/NAME.yaml.
        enable: name it under `datasets` in params.yaml, so that `dvc repro` runs it.
        ingest: keys of the section `ingest` that say how to read the files, beside the defaults.

    Raises:
        ConfigError: the name is not usable or taken.
        DataError: the folder is missing or holds no catalogue.
    """
    from mmesid.commands import inspection

    source, conf = root / "sources" / name, root / "conf" / f"{name}.yaml"
    _check_name(name, source, conf, files, root, force)
    if not files.is_dir():
        raise DataError(f"--files: {files} is {'not a folder' if files.exists() else 'missing'}; name a folder")
    limits = read_sections(root / "params.yaml").get("validate")
    catalogue = inspection.inspect(files, ingest, limits)
    text = inspection.render_conf(name, catalogue)
    _place(files, source, copy)
    write_atomically(conf, lambda beside: beside.write_text(text, encoding="utf-8"))
    if enable:
        enable_dataset(name, root)
    return Added(source, conf, enable, catalogue)


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
    changed = _append(text, name)
    before, after = yaml.safe_load(text), yaml.safe_load(changed)
    if after != {**before, "datasets": [*names, name]}:
        raise ConfigError(f"params.yaml: `datasets` could not be edited; add `{name}` to the list by hand")
    write_atomically(path, lambda beside: beside.write_text(changed, encoding="utf-8"))


def parse_columns(text: str) -> dict[str, str | int]:
    """`user_id=userId,items.item_id=2` as `ingest.columns` holds it.

    Raises:
        ConfigError: a pair is no pair.
    """
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if wrong := [left for left, _, right in pairs if not left.strip() or not right.strip()]:
        raise ConfigError(f"--columns: {wrong[0]!r} names no column; write user_id=userId,item_id=movieId")
    return {left.strip(): int(right) if right.strip().isdigit() else right.strip() for left, _, right in pairs}


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


def _check_name(name: str, source: Path, conf: Path, files: Path, root: Path, force: bool) -> None:
    if not (root / "params.yaml").exists():
        raise ConfigError(f"{root.absolute()} holds no params.yaml; run `mmesid add` in the project's folder")
    if not NAME.fullmatch(name):
        raise ConfigError(f"'{name}' cannot name a dataset: use up to 40 lower-case letters, digits, `-` and `_`")
    taken = [path for path in (conf, source) if path.exists() or path.is_symlink()]
    in_place = source.is_dir() and files.is_dir() and source.samefile(files)
    if in_place and source in taken:
        taken.remove(source)
    if taken and not force:
        there = " and ".join(str(path.relative_to(root)) for path in taken)
        raise ConfigError(f"dataset '{name}' exists already ({there}); choose another name, or --force replaces it")
    if source.is_dir() and not source.is_symlink() and not in_place:
        raise ConfigError(f"{source.relative_to(root)} is a folder of its own, not a link: move it away first")


def _place(files: Path, source: Path, copy: bool) -> None:
    """A link or a copy at `source`; nothing to do where the files lie there already."""
    if source.is_dir() and source.samefile(files) and not (copy and source.is_symlink()):
        return
    source.parent.mkdir(parents=True, exist_ok=True)
    beside = source.with_name(f".{source.name}.new")
    _remove(beside)
    if copy:
        shutil.copytree(files, beside)
    else:
        beside.symlink_to(files.resolve(), target_is_directory=True)
    if source.is_symlink():
        source.unlink()
    beside.rename(source)


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
