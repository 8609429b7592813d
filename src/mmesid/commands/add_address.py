"""`mmesid add NAME --source amazon`: review files at an address become a dataset; `ingest` fetches them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmesid.artifacts import packaged, releases
from mmesid.artifacts.releases import Record
from mmesid.artifacts.texts import save_text
from mmesid.commands import presets, project
from mmesid.commands.add import all_or_nothing, check_name, conf_line, next_line
from mmesid.commands.content import MODEL
from mmesid.commands.listing import enable_dataset
from mmesid.commands.presets import NONE, Preset
from mmesid.config.loading import read_sections
from mmesid.errors import ConfigError, without_secret
from mmesid.pipeline import sources
from mmesid.pipeline.downloads.address import SCHEME, ask, bare, is_remote

# What raw reviews need: dead links and products without metadata are usual, and reviews repeat.
LIMITS = {"max_unknown_items": 0.05, "max_duplicates": 0.1, "max_broken_images": 1.0, "max_text_length": 100000}


class Address(NamedTuple):
    """Where review files lie, and which are meant."""

    base_url: str  # http(s) address, or folder
    category: str
    release: str
    named: Mapping[str, str]  # `interactions` and `items`, where the files are called otherwise

    def ingest(self) -> dict[str, Any]:
        """The keys of the section `ingest` that say so."""
        base_url = self.base_url  # an address of another kind stays as it is, to be refused as such
        if not SCHEME.match(base_url):
            base_url = str(Path(base_url).expanduser().absolute())
        elif is_remote(base_url):
            base_url = bare(base_url)
        keys = {"source": "amazon", "base_url": base_url, "category": self.category, "release": self.release}
        return {**keys, **self.named}


def add(
    name: str, given: Address, root: Path, force: bool, reset_conf: bool, enable: bool, preset: str | None = None
) -> tuple[Record, bool]:
    """Make a category the dataset `name`: ask the address what it holds, record that, and write `conf/NAME.yaml`.

    Args:
        name: of the dataset.
        given: address, category and release.
        root: the project's folder.
        force: replace the source of an existing dataset.
        reset_conf: write the conf anew where there is one.
        enable: name it under `datasets` in params.yaml.
        preset: of conf/presets/, whose values the conf gets.

    Returns:
        What the address holds, and whether the conf was there already and stays.

    Raises:
        ConfigError: the name or an option is not usable, or a conf that stays names another address or is not the
            preset.
        DataError: the address lacks a file or gives no answer.
    """
    check_name(name, root)
    source, conf = root / "sources" / name, root / "conf" / f"{name}.yaml"
    if source.exists() and not releases.is_recorded(source) and not (force and sources.is_kept(name, root)):
        raise ConfigError(
            f"sources/{name} holds another source; choose another name, or --force replaces what DVC's cache holds"
        )
    ingest, wanted_preset = given.ingest(), presets.read(preset, root) if preset else NONE
    if kept := conf.exists() and not reset_conf:
        told = {**read_sections(root / "params.yaml")["ingest"], **(read_sections(conf).get("ingest") or {})}
        differing = [key for key, value in ingest.items() if told.get(key) != value]
        if "base_url" in differing and bare(str(told.get("base_url"))) == bare(ingest["base_url"]):
            ingest["base_url"] = told["base_url"]  # as it stands there, so that the record is of that
            differing.remove("base_url")
        if differing:
            raise ConfigError(f"{conf} stays as it is, and ingest.{differing[0]} differs; --reset-conf writes it anew")
        presets.check_kept(wanted_preset, name, root)
    record = ask(project.settings({"ingest": ingest}, name, "mmesid add", root).ingest, root)
    text = render(name, ingest, wanted_preset)
    with all_or_nothing(name, root):
        sources.clear(name, root)
        releases.write_record(source, record)
        sources.track(name, root)
        if not kept:
            save_text(conf, text)
        if enable:
            enable_dataset(name, root)
    return record, kept


def render(name: str, ingest: dict[str, Any], preset: Preset = NONE) -> str:
    """The text of the conf. What a preset says that this machine lacks is left to what needs no weights, and noted."""
    preset, lacks = presets.on_this_machine(preset)
    sections: dict[str, dict[str, Any]] = {"ingest": ingest, "validate": dict(LIMITS)}
    if lacks:
        sections["encode_content"] = {"text": "lsa"}
    elif packaged.find(MODEL) is not None:
        sections["encode_content"] = {"text": "sentence_transformers"}
    lines = [f"# {name}: what differs from params.yaml for this dataset alone.", *(f"# {line}" for line in lacks)]
    return "\n".join([*lines, *presets.render(sections, preset)]) + "\n"


def describe(name: str, record: Record, kept: bool, enabled: bool) -> list[str]:
    """What was found and written, and what to do next."""
    files = record.files.values()
    sizes = {file.path: "size unknown" if file.bytes is None else f"{file.bytes:,} bytes" for file in files}
    lines = [f"at {without_secret(record.base_url)}:", *(f"  {path}: {size}" for path, size in sizes.items())]
    lines += [conf_line(name, kept), f"commit sources/{name}.dvc, conf/{name}.yaml and params.yaml"]
    return [*lines, next_line(name, enabled, "fetch and run it")]
