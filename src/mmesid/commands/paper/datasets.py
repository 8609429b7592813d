"""Which datasets are meant: those of the paper, added where they are not there yet, and any other that was added."""

import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import yaml

from mmesid import config
from mmesid.artifacts import releases
from mmesid.artifacts.releases import Record
from mmesid.commands import add_address, presets, project
from mmesid.commands.add_address import Address
from mmesid.config import Config
from mmesid.config.sizes import Size
from mmesid.errors import ConfigError, DataError
from mmesid.pipeline.downloads import address

ADDRESS = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"  # of the release of 2014
RELEASE = "2014"
CATEGORIES = {"amazon-beauty": "Beauty", "amazon-toys": "Toys_and_Games", "amazon-sports": "Sports_and_Outdoors"}
SIZES = {  # of the release's 5-core files, as published
    "Beauty": Size(22_363, 12_101, 198_502),
    "Toys_and_Games": Size(19_412, 11_924, 167_597),
    "Sports_and_Outdoors": Size(35_598, 18_357, 296_337),
}


class Wanted(NamedTuple):
    """A dataset that shall run."""

    name: str
    settings: Config
    size: Size | None  # None: unknown before it is fetched
    record: Record | None  # what its address holds; None where it has none, or does not answer
    new: Address | None = None  # how it is to be added; None where it is there
    fault: str = ""  # why it cannot run
    note: str = ""


def wanted(names: Sequence[str], preset: str, base_url: str, root: Path) -> list[Wanted]:
    """Look at each dataset, and ask its address what it holds; nothing is fetched or written.

    Args:
        names: of datasets; those of the paper without any.
        preset: whose values new ones get; empty: paper. One that is named must be what existing ones run with.
        base_url: address or folder of the files of new ones; empty: ADDRESS.
        root: the project's folder.

    Raises:
        ConfigError: a dataset is neither there nor one of the paper's, or there is no such preset.
    """
    chosen = presets.read(preset or "paper", root)
    there = {path.stem for path in (root / "conf").glob("*.yaml")}
    if unknown := [name for name in names if name not in there and name not in CATEGORIES]:
        raise ConfigError(
            f"{unknown[0]} is not here: add it with `mmesid add {unknown[0]} --preset {chosen.name} ...`, or name some "
            f"of {', '.join(CATEGORIES)}, which are added by themselves"
        )

    def look(name: str) -> Wanted:
        if name in there:
            return _existing(name, chosen if preset else presets.NONE, base_url, root)
        return _new(name, chosen, base_url or ADDRESS, root)

    with ThreadPoolExecutor() as pool:  # an address that hangs is waited for once, not once for each dataset
        return list(pool.map(look, names or CATEGORIES))


def _existing(name: str, preset: presets.Preset, base_url: str, root: Path) -> Wanted:
    """One that has a conf, which counts as it is."""
    settings, fault = config.load(name, root), ""
    fitting = presets.on_this_machine(preset)[0]
    if differing := presets.differing(fitting, settings):
        fault = (
            f"conf/{name}.yaml is not the preset {preset.name}: {differing[0]}; run it as it is without PRESET, or "
            f"{_anew(name, settings, preset)}"
        )
    told = Address(base_url, "", RELEASE, {}).ingest()["base_url"]
    if base_url and address.bare(settings.ingest.base_url or "") != address.bare(told):
        has = "another" if settings.ingest.base_url else "no"
        fault = f"conf/{name}.yaml has {has} ingest.base_url; leave FROM out to run it as it is"
    record, said = _ask(settings, root)
    known = releases.read_record(root / "sources" / name)
    if record is None and known is not None and address.is_here(known, settings.ingest, root):
        record, said = known, ""
    return Wanted(name, settings, _size(settings), record, fault=fault or said)


def _anew(name: str, settings: Config, preset: presets.Preset) -> str:
    """How a dataset that is there gets a preset's values."""
    section = settings.ingest
    if name in CATEGORIES:
        return f"delete it and sources/{name}.dvc to have it added anew"
    if section.source == "sample":
        return "change its values there"
    given = ["--files", "PATH", "--force"]
    if section.source == "amazon":
        given = ["--source", "amazon", "--category", str(section.category), "--release", section.release]
        given += ["--from", str(section.base_url)]
    command = shlex.join(["mmesid", "add", name, *given, "--preset", preset.name, "--reset-conf"])
    return f"`{command}` writes it anew with the preset's values"


def _new(name: str, preset: presets.Preset, base_url: str, root: Path) -> Wanted:
    """One of the paper's, as `mmesid add` will write it."""
    given = Address(base_url, CATEGORIES[name], RELEASE, {})
    text = add_address.render(name, given.ingest(), preset)
    settings = project.settings(yaml.safe_load(text), name, f"conf/presets/{preset.name}.yaml", root)
    record, fault = _ask(settings, root)
    lacks = presets.on_this_machine(preset)[1]
    note = f"{lacks[0]}; texts are read by {settings.encode_content.text}" if lacks else ""
    return Wanted(name, settings, _size(settings), record, given, fault, note)


def _ask(settings: Config, root: Path) -> tuple[Record | None, str]:
    """What an address holds, or why it does not say so."""
    if settings.ingest.source != "amazon":
        return None, ""
    try:
        return address.ask(settings.ingest, root), ""
    except DataError as error:
        return None, str(error)


def _size(settings: Config) -> Size | None:
    section = settings.ingest
    return SIZES.get(section.category or "") if section.source == "amazon" and section.release == RELEASE else None
