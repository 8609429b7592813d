"""`mmesid add`: a folder becomes a dataset of this project: `sources/NAME`, `conf/NAME.yaml`, a name in `params.yaml`.

The folder is inspected first; nothing is written unless it can be read. Every file is written whole or not at all, and
what was written is taken back where something fails after all.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmesid.artifacts.source import digest, is_external
from mmesid.artifacts.texts import save_text
from mmesid.commands import project
from mmesid.commands.listing import enable_dataset
from mmesid.config.loading import ABLATIONS, parsed, read_sections
from mmesid.errors import ConfigError, DataError
from mmesid.pipeline import sources

if TYPE_CHECKING:
    from mmesid.commands.inspection import Inspection
    from mmesid.data.verdict import Refusal

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
TAKEN_FOLDERS = (  # of the project: stages, tools and people write there
    *(".dvc", ".git", ".prefect", ".uv", ".venv", "benchmarks", "conf", "data", "docs", "flows", "mlruns"),
    *("recommendations", "reports", "src", "tests"),
)


class Added(NamedTuple):
    """What `add` did."""

    source: Path  # sources/NAME: a copy of the files, or their digest and a link to them
    conf: Path  # conf/NAME.yaml
    kept_conf: bool  # whether it was there already and is as it was
    changed: bool  # whether DVC had tracked another state of the source before
    inspection: "Inspection"
    refusals: "list[Refusal]"  # what the stage `validate` will say


def add(
    name: str,
    files: Path,
    root: Path = Path(),
    external: bool = False,
    force: bool = False,
    reset_conf: bool = False,
    enable: bool = True,
    ingest: Mapping[str, Any] | None = None,
    preset: str | None = None,
) -> Added:
    """Make the catalogue in `files` the dataset `name`.

    Args:
        name: of the dataset: lower-case letters, digits, `-` and `_`.
        files: folder with interactions, items and pictures.
        root: the project's folder.
        external: leave the files where they are; the project holds their digest and a link.
        force: replace the source of an existing dataset.
        reset_conf: write conf/NAME.yaml anew where there is one.
        enable: name it under `datasets` in params.yaml, so that `dvc repro` runs it.
        ingest: keys of the section `ingest` that say how to read the files, beside the defaults.
        preset: of conf/presets/, whose values the conf gets.

    Raises:
        ConfigError: the name is not usable or taken, the folder is one that the project writes to, there is no such
            preset, or a conf that stays says otherwise how the files are read or what a preset says.
        DataError: the folder is missing or holds no catalogue.
    """
    from mmesid import config
    from mmesid.commands import inspection, presets
    from mmesid.data import verdict
    from mmesid.data.files import read_embeddings
    from mmesid.data.formats import How

    source, conf = root / "sources" / name, root / "conf" / f"{name}.yaml"
    check_name(name, root)
    _check_files(files, source, root)
    _check_taken(name, files, root, external, force)
    given, kept = dict(ingest or {}), conf.exists() and not reset_conf
    wanted = presets.read(preset, root) if preset else presets.NONE
    if kept:
        _check_kept(conf, given)
        presets.check_kept(wanted, name, root)
    how = How.of(config.load(name, root).ingest) if kept else How(**given)
    found, catalogue = inspection.inspect(files, how, given, wanted)
    text = conf.read_text(encoding="utf-8") if kept else inspection.render_conf(name, found)
    settings = project.settings(parsed(text) or {}, name, f"params.yaml or conf/{name}.yaml", root)
    named = {str(modality): chosen for modality, chosen in settings.ingest.embeddings.items()}
    judged = catalogue._replace(embeddings=read_embeddings(files, named))
    refusals = verdict.refusals(judged, settings.validate_)
    before = sources.tracked_hash(name, root)
    with all_or_nothing(name, root):
        sources.place(files, name, root, external)
        changed = sources.track(name, root) != before
        if not kept:
            save_text(conf, text)
        if enable:
            enable_dataset(name, root)
    return Added(source, conf, kept, bool(before) and changed, found, refusals)


def describe(added: Added, name: str, root: Path, enabled: bool) -> list[str]:
    """What was written, what the gate will say, and what to do next."""
    again = f"`mmesid add {name} --files PATH --force`"
    if is_external(added.source):
        lines = [f"sources/{name} holds a digest of the files and a link to them; `make repro` sees when they change"]
    else:
        held = digest(added.source)
        lines = [
            f"sources/{name} is a copy ({held.files:,} files, {held.bytes / 1e6:,.1f} MB), shared with DVC's cache; "
            f"later changes of the original are taken by {again}"
        ]
    if added.changed:
        lines.append(f"it differs from what sources/{name}.dvc named before: the dataset's stages will run")
    commit = f"commit sources/{name}.dvc, conf/{name}.yaml and params.yaml; `dvc push` takes the source along"
    lines += [conf_line(name, added.kept_conf), commit]
    if added.refusals:
        return [*lines, *(f"validate will refuse this: {refusal}" for refusal in added.refusals)]
    return [*lines, next_line(name, enabled, "run it")]


def conf_line(name: str, kept: bool) -> str:
    """What became of the conf."""
    conf = f"conf/{name}.yaml"
    return f"{conf} was there and is as it was (--reset-conf writes it anew)" if kept else f"wrote {conf}"


def next_line(name: str, enabled: bool, act: str) -> str:
    """What to do next."""
    run = f'make repro DATASETS="{name}"'
    return f"{act}: {run}" if enabled else f"add {name} to `datasets` in params.yaml, then: {run}"


def parse_columns(text: str) -> dict[str, str | int]:
    """`user_id=userId,items.item_id=2` as `ingest.columns` holds it.

    Raises:
        ConfigError: a pair is no pair.
    """
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if wrong := [left for left, _, right in pairs if not left.strip() or not right.strip()]:
        raise ConfigError(f"--columns: {wrong[0]!r} names no column; write user_id=userId,item_id=movieId")
    return {left.strip(): int(right) if right.strip().isdecimal() else right.strip() for left, _, right in pairs}


def check_name(name: str, root: Path) -> None:
    """Raises ConfigError where a name cannot name a dataset, or the folder is no project's."""
    if not (root / "params.yaml").exists():
        raise ConfigError(f"{root.absolute()} holds no params.yaml; run `mmesid add` in the project's folder")
    if not NAME.fullmatch(name) or name == ABLATIONS:
        raise ConfigError(
            f"'{name}' cannot name a dataset: use up to 40 lower-case letters, digits, `-` and `_`, and not {ABLATIONS}"
        )


@contextmanager
def all_or_nothing(name: str, root: Path) -> Iterator[None]:
    """Take back what is written for a dataset where a failure, or Ctrl-C, ends it early.

    A source that took the place of another one stays, as the other one is in DVC's cache alone.
    """
    source = root / "sources" / name
    texts = [source.with_name(f"{name}.dvc"), root / "conf" / f"{name}.yaml"]
    before = {path: path.read_bytes() if path.exists() else None for path in texts}
    is_new = not os.path.lexists(source)
    try:
        yield
    except BaseException:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)
        if is_new:
            sources.take_back(name, root)
        sources.settle(root)
        raise


def _check_files(files: Path, source: Path, root: Path) -> None:
    """A catalogue lies outside the project, or in a folder of it that nobody writes to."""
    if not files.is_dir():
        raise DataError(f"--files: {files} is {'not a folder' if files.exists() else 'missing'}; name a folder")
    place, project = files.resolve(), root.resolve()
    if project.is_relative_to(place):
        what = "is the project's own folder" if place == project else "contains the project"
        raise ConfigError(f"--files: {files} {what}; name the folder that holds the two tables")
    inside = place.relative_to(project).parts if place.is_relative_to(project) else ()
    if inside[:1] == ("sources",) and (len(inside) == 1 or inside[1] != source.name):
        raise ConfigError(f"--files: {files} holds another dataset's source; name a folder outside sources/")
    if inside and inside[0] in TAKEN_FOLDERS:
        raise ConfigError(
            f"--files: {files} lies in {inside[0]}/ of the project, where stages or tools write; move it out of there"
        )


def _check_taken(name: str, files: Path, root: Path, external: bool, force: bool) -> None:
    """Refuse to replace a source unasked, and what would be lost with it in any case."""
    source = root / "sources" / name
    if not source.exists():
        return  # nothing, or a link to nowhere
    in_place = source.samefile(files) and not source.is_symlink()
    if in_place and external:
        raise ConfigError(f"{source.relative_to(root)} lies inside the project: --external is for a folder outside")
    if in_place and not (root / "sources" / f"{name}.dvc").exists():
        return
    if not (root / "conf" / f"{name}.yaml").exists() and sources.is_same(files, name, root, external):
        return  # what a kill left, to be gone on with
    if not force:
        raise ConfigError(
            f"dataset '{name}' exists already ({source.relative_to(root)}); choose another name, or --force replaces "
            f"its source and keeps conf/{name}.yaml"
        )
    replaces = not in_place and not source.is_symlink() and not sources.is_kept(name, root)
    if replaces and not sources.is_same(files, name, root, external):
        raise ConfigError(
            f"{source.relative_to(root)} is a folder whose content DVC's cache does not hold: move it away, or keep it "
            f"with `dvc add sources/{name}` first"
        )


def _check_kept(conf: Path, given: Mapping[str, Any]) -> None:
    """Refuse to be told how the files are read by two who differ."""
    told = read_sections(conf).get("ingest") or {}
    if differing := [key for key, value in given.items() if told.get(key) != value]:
        key = differing[0]
        raise ConfigError(
            f"{conf} stays as it is, with {f'ingest.{key}: {told[key]!r}' if key in told else f'no ingest.{key}'}, and "
            f"not {given[key]!r} as given now; change it there, or --reset-conf writes the conf anew"
        )
