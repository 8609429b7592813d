"""Presets, `conf/presets/<name>.yaml`: sections of params.yaml that `mmesid add --preset` copies into a dataset's conf.

They are copied, not linked, so that a conf stays whole and DVC sees what a dataset runs with. A preset wins over what
`mmesid add` would choose by size or content, which is then said; what the catalogue lacks it cannot bring.
"""

import difflib
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mmesid.artifacts import packaged
from mmesid.artifacts.values import CONTENT
from mmesid.commands import project
from mmesid.commands.content import Content, FoundEmbedding, enough
from mmesid.config import SECTIONS, Config, flatten, load
from mmesid.config.loading import merge, read_sections
from mmesid.errors import ConfigError

FOLDER = Path("conf", "presets")
BASE = "base"  # key of a preset that names another, whose values stand where it names none
NOT_THEIRS = ("ingest", "validate")  # sections that are about one catalogue
NO_SECTIONS = {  # keys that stand beside sections elsewhere, with where that is
    "seed": "; it belongs into params.yaml or conf/<dataset>.yaml",
    "datasets": "; it belongs into params.yaml",
    "dataset": "",
}
Sections = dict[str, dict[str, Any]]


class Preset(NamedTuple):
    """A named set of values."""

    name: str
    sections: Mapping[str, Mapping[str, Any]]

    def get(self, section: str, key: str) -> Any:
        """A value, None where the preset names none."""
        return self.sections.get(section, {}).get(key)

    def names(self, section: str, key: str) -> bool:
        """Whether it says what a key shall be."""
        return key in self.sections.get(section, {})

    def without(self, section: str, *keys: str) -> "Preset":
        """The preset without some keys."""
        kept = {key: value for key, value in self.sections[section].items() if key not in keys}
        others = {name: values for name, values in self.sections.items() if name != section}
        return Preset(self.name, {**others, section: kept} if kept else others)


NONE = Preset("", {})


def names(root: Path = Path()) -> list[str]:
    """The presets that there are."""
    return sorted(path.stem for path in (root / FOLDER).glob("*.yaml"))


def read(name: str, root: Path = Path()) -> Preset:
    """Read a preset and whatever it is based on, and check that its values are possible.

    Raises:
        ConfigError: there is none of this name (the message lists those that exist), or a key or value is wrong.
    """
    sections = _sections(name, root, ())
    where = f"{FOLDER.as_posix()}/{name}.yaml"
    if foreign := [section for section in sections if section in NOT_THEIRS]:
        raise ConfigError(f"{where}: {foreign[0]} is about one catalogue; it belongs into conf/<dataset>.yaml")
    if alone := [key for key in NO_SECTIONS if key in sections]:
        raise ConfigError(
            f"{where}: {alone[0]} is no section, and a preset holds sections alone{NO_SECTIONS[alone[0]]}"
        )
    project.settings(sections, name, where, root)  # raises where a key or value is wrong
    return Preset(name, {section: sections[section] for section in SECTIONS if sections.get(section)})


def on_this_machine(preset: Preset) -> tuple[Preset, list[str]]:
    """The preset without a packaged text model that is not installed, and a line that says so."""
    section = "encode_content"
    model = (preset.get(section, "sentence_transformers") or {}).get("model")
    if preset.get(section, "text") != "sentence_transformers" or model not in packaged.TEXT_MODELS:
        return preset, []
    if packaged.find(model) is not None:
        return preset, []
    said = f"{section}.text: the preset {preset.name} has {model}, which is not installed (`mmesid weights {model}`)"
    return preset.without(section, "text", "sentence_transformers"), [said]


def fit(preset: Preset, content: Content, embeddings: Sequence[FoundEmbedding], items: int) -> tuple[Preset, list[str]]:
    """The preset without what a catalogue cannot do, and a line on each thing that was left out.

    Args:
        preset: as it was read.
        content: what the items have.
        embeddings: that the source has.
        items: that preparation leaves.
    """
    preset, lines = on_this_machine(preset)
    section, counts = "encode_content", dict(zip(CONTENT, (content.texts, content.pictures), strict=True))
    for modality, count in counts.items():
        way, given = preset.get(section, modality), [one for one in embeddings if one.modality == modality]
        if way in (None, "none") or (given if way == "precomputed" else count >= enough(items)):
            continue
        lines.append(f"{section}.{modality}: the preset {preset.name} has {way}, for which too few items have any")
        preset = preset.without(section, modality)
    dropped = preset.get("prepare", "drop_items_without") or []
    if lacking := [modality for modality in dropped if counts[modality] < enough(items)]:
        lines.append(
            f"prepare.drop_items_without: the preset's {', '.join(lacking)} would drop nearly all items and is left out"
        )
        kept = [modality for modality in dropped if modality not in lacking]
        changed = {**preset.sections["prepare"], "drop_items_without": kept}
        preset = preset._replace(sections={**preset.sections, "prepare": changed})
    return preset, lines


def differing(preset: Preset, settings: Config) -> list[str]:
    """`key: value, not value` for each value of a preset that a dataset does not run with.

    Of a modality that the catalogue lacks or brings embeddings of, `fit` leaves a preset's word out: no difference.
    """
    found, asked = (dict(flatten(one)) for one in (settings.model_dump(by_alias=True), preset.sections))
    absent = [modality for modality in CONTENT if found[f"encode_content.{modality}"] in ("none", "precomputed")]
    for modality in absent:
        asked.pop(f"encode_content.{modality}", None)
    if "prepare.drop_items_without" in asked:
        for values in (found, asked):
            key = "prepare.drop_items_without"
            values[key] = [modality for modality in values[key] if modality not in absent]
    return [f"{key} is {found.get(key)!r}, not {value!r}" for key, value in asked.items() if found.get(key) != value]


def check_kept(preset: Preset, dataset: str, root: Path) -> None:
    """Raises ConfigError where a conf that stays as it is says otherwise than the preset that is named beside it."""
    if preset.sections and (found := differing(preset, load(dataset, root))):
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise ConfigError(
            f"conf/{dataset}.yaml stays as it is, and is not the preset {preset.name}: {found[0]}{more}; leave the "
            "preset out to keep it, or --reset-conf writes it anew"
        )


def render(own: Mapping[str, Mapping[str, Any]], preset: Preset) -> list[str]:
    """The sections of a conf as YAML, a preset's values below a comment that names it; they win."""
    lines = []
    for section in SECTIONS:
        theirs = preset.sections.get(section, {})
        ours = {key: value for key, value in own.get(section, {}).items() if key not in theirs}
        if not ours and not theirs:
            continue
        lines.append(_yaml({section: ours}) if ours else f"{section}:")
        if theirs:
            lines.append(f"  # by the preset {preset.name} ({FOLDER.as_posix()}/{preset.name}.yaml):")
            lines.append(textwrap.indent(_yaml(dict(theirs)), "  "))
    return lines


def _yaml(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True).rstrip()


def _sections(name: str, root: Path, above: Sequence[str]) -> Sections:
    """A preset's values over those of its base."""
    there = names(root)
    if name not in there:
        near = difflib.get_close_matches(name, there, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"no preset '{name}': {FOLDER.as_posix()}/ has {', '.join(there) or 'none'}{hint}")
    if name in above:
        raise ConfigError(f"{FOLDER.as_posix()}/{name}.yaml: `{BASE}` leads back to it")
    found = read_sections(root / FOLDER / f"{name}.yaml")
    base = found.pop(BASE, None)
    return merge(_sections(str(base), root, (*above, name)), found) if base is not None else found
