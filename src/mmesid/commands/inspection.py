"""What a folder of files holds, and the first `conf/<dataset>.yaml` for it."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmesid.artifacts import packaged
from mmesid.artifacts.items import text_columns
from mmesid.artifacts.values import Catalogue
from mmesid.commands import presets, unread
from mmesid.commands.content import (
    MODEL,
    Content,
    FoundEmbedding,
    best,
    count_content,
    encoders,
    find_embeddings,
    image_encoder,
    least_covered,
    made_of,
    text_encoder,
    unencoded,
)
from mmesid.commands.content import notes as content_notes
from mmesid.commands.gaps import interaction_gaps, item_gaps
from mmesid.commands.presets import NONE, Preset
from mmesid.config import EMBEDDED, SECTIONS
from mmesid.config.sizes import Choice, Size, choices
from mmesid.data.files import (
    canonical_items,
    check_folder,
    choose_text,
    items_table,
    read_interactions,
    with_pictures,
)
from mmesid.data.formats import PLAIN, How
from mmesid.data.joins import explain_join
from mmesid.data.pictures import list_pictures, near_places
from mmesid.data.preparation import MIN_ITEMS, k_core, usable_interactions
from mmesid.errors import DataError

CORES = ((5, 5), (3, 3), (3, 1))  # k-cores to choose from: interactions per user, per item
UNTAUGHT = 3  # interactions of a user that teach nothing: the first, and those of validation and test
KEPT_SHARE = 0.5  # of the usable interactions that a k-core must keep to be chosen
LINE_BREAKS = "\n\r\x85\u2028\u2029"  # what YAML ends a comment at


class Core(NamedTuple):
    """A k-core and what it leaves."""

    min_user: int
    min_item: int
    users: int
    items: int
    interactions: int


class Inspection(NamedTuple):
    """What a folder holds."""

    users: int
    items: int
    interactions: int
    text_columns: dict[str, float]  # share of items that have it
    with_text: float  # share of items with any text
    with_picture: float  # share of items whose picture's file exists
    embeddings: list[FoundEmbedding]
    core: Core
    warnings: list[str]
    content: Content
    left_out: dict[str, str]  # columns of the items table that are no text, and why
    unusable: list[tuple[str, str]]  # files that are no usable embedding, and why
    ingest: Mapping[str, Any] = MappingProxyType({})  # how the files are to be read, beside the defaults
    pretrained: bool = False  # whether the packaged text model is installed on this machine
    preset: Preset = NONE  # whose values come first; without what the catalogue cannot do
    preset_lacks: tuple[str, ...] = ()  # what of it that is, and why
    unread: tuple[tuple[str, str], ...] = ()  # files and columns that are not read, as (subject, detail)

    def encoders(self) -> dict[str, str]:
        """How texts and pictures become embeddings."""
        own = encoders(self.content, self.embeddings, self.core.items, self.pretrained)
        return {modality: self.preset.get("encode_content", modality) or way for modality, way in own.items()}

    def read_by(self) -> list[tuple[str, str]]:
        """Which encoder reads what, and what a stronger one would need, as (subject, detail)."""
        chosen = self.encoders()
        own = text_encoder(self.content, chosen["text"], self.pretrained), image_encoder(chosen["image"])
        return [
            (f"{subject} read by", f"{chosen[modality]}, as the preset {self.preset.name} says" if given else said)
            for subject, modality, said in zip(("texts", "pictures"), chosen, own, strict=True)
            for given in [self.preset.names("encode_content", modality)]
        ]

    def rows(self) -> list[tuple[str, str]]:
        """The findings as (subject, detail), for a person."""
        columns = ", ".join(f"{name} ({share:.0%})" for name, share in self.text_columns.items() if share) or "none"
        core = self.core
        return [
            ("users", f"{self.users:,}"),
            ("items", f"{self.items:,}"),
            ("interactions", f"{self.interactions:,}"),
            ("items with text", f"{self.with_text:.1%}; columns: {columns}"),
            *([("columns left out", unread.left_out(self.left_out))] if self.left_out else []),
            *self.unread,
            ("items with a picture", f"{self.with_picture:.1%}"),
            *((f"{found.modality} embedding", found.describe()) for found in self.embeddings),
            (
                "after preparation",
                f"{core.users:,} users with at least {core.min_user} interactions, {core.items:,} items with at least "
                f"{core.min_item}, {core.interactions:,} interactions",
            ),
            *self.read_by(),
            *(
                ("chosen by size", f"{choice.section}.{choice.key}: {choice.value}, for {choice.reason}")
                for choice in _by_size(self)
                if not self.preset.names(choice.section, choice.key)
            ),
            *_made_of(self),
            *(("preset", line) for line in (*_overruled(self), *self.preset_lacks)),
            *(("not used", f"{path}: {why}") for path, why in self.unusable),
            *(("not used", _offer(item)) for item in _unused(self)),
            *(("warning", warning) for warning in self.warnings),
        ]


def inspect(
    folder: Path, how: How = PLAIN, ingest: Mapping[str, Any] | None = None, preset: Preset = NONE
) -> tuple[Inspection, Catalogue]:
    """Look at a folder in the `files` format.

    Args:
        folder: the catalogue's folder.
        how: what the files do not say themselves.
        ingest: the keys of the section `ingest` that say so, for the conf.
        preset: whose values the conf shall have.

    Returns:
        What was found, and the catalogue as the stage `ingest` reads it, without embeddings.

    Raises:
        DataError: the folder, a table or a column is missing or not what its name says, or preparation leaves nothing.
    """
    check_folder(folder)
    interactions, notes = read_interactions(folder, how)
    raw = items_table(folder, how)
    choice = choose_text(raw, how.text)
    items, more = with_pictures(folder, canonical_items(raw, choice))
    usable = usable_interactions(interactions, items["item_id"])
    core, core_ids = _choose_core(usable)
    if core.items < MIN_ITEMS or core.interactions <= UNTAUGHT * core.users:
        why = "; ".join([_why_nothing(interactions, items, usable, core), *notes, *more])
        raise DataError(f"{folder}: nothing is left to learn from; {why}")
    kept = items["item_id"].isin(core_ids)
    embeddings, unusable = find_embeddings(folder, items["item_id"], kept)
    content = count_content(items, kept)
    pretrained = packaged.find(MODEL) is not None
    preset, lacks = presets.fit(preset, content, embeddings, core.items)
    filled = {column: float(items[column].notna().mean()) for column in text_columns(items)}
    found = Inspection(
        users=interactions["user_id"].nunique(),
        items=items["item_id"].nunique(),
        interactions=len(interactions),
        text_columns=filled,
        with_text=float(items[list(filled)].notna().any(axis=1).mean()),
        with_picture=float(items["image"].notna().mean()),
        embeddings=embeddings,
        core=core,
        warnings=[
            *notes,
            *more,
            *interaction_gaps(interactions, items),
            *item_gaps(items, list_pictures(folder), near_places(folder)),
            *_core_warnings(core, len(usable)),
            *content_notes(content, embeddings, encoders(content, embeddings, core.items, pretrained), core.items),
        ],
        content=content,
        left_out=choice.left_out,
        unusable=unusable,
        ingest=dict(ingest or {}),
        pretrained=pretrained,
        preset=preset,
        preset_lacks=tuple(lacks),
        unread=tuple(unread.rows(folder, how)),
    )
    return found, Catalogue(interactions, items, {}, (*notes, *more))


def suggest(inspection: Inspection) -> dict[str, dict[str, Any]]:
    """The overrides of `params.yaml` that fit the folder, beside a preset's; where the defaults fit, nothing."""
    core, chosen = inspection.core, inspection.encoders()
    sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    sections["ingest"] = {"source": "files", **inspection.ingest}
    used = {m: best(inspection.embeddings, m).name for m, way in chosen.items() if way == "precomputed"}
    if used:
        sections["ingest"]["embeddings"] = used
    if (core.min_user, core.min_item) != (5, 5):
        sections["prepare"] = {"min_user_interactions": core.min_user, "min_item_interactions": core.min_item}
    sections["encode_content"] = dict(chosen)
    for choice in _by_size(inspection):
        sections[choice.section][choice.key] = choice.value
    if (made := made_of(chosen)) and "item_id" not in sections["init_codes"]:
        sections["init_codes"] |= {"item_modalities": made, "item_codes": [*made]}
    return {section: values for section, values in sections.items() if values}


def render_conf(name: str, inspection: Inspection) -> str:
    """The text of `conf/<name>.yaml`: what was found as comments, and the suggested overrides."""
    found = [_comment(f"  {subject}: {detail}") for subject, detail in inspection.rows()]
    lines = [f"# {name}: what differs from params.yaml for this dataset alone. Found in its folder:", *found]
    return "\n".join([*lines, *presets.render(suggest(inspection), inspection.preset)]) + "\n"


def _by_size(inspection: Inspection) -> list[Choice]:
    """Settings that follow from how much preparation leaves."""
    core, content = inspection.core, inspection.content
    given = content, inspection.embeddings, inspection.encoders(), core.items
    backbone = inspection.preset.get("init_codes", "backbone") or EMBEDDED
    return choices(Size(core.users, core.items, core.interactions), least_covered(*given), unencoded(*given), backbone)


def _made_of(inspection: Inspection) -> list[tuple[str, str]]:
    found = suggest(inspection).get("init_codes", {}).get("item_modalities")
    if not found or inspection.preset.names("init_codes", "item_modalities"):
        return []
    return [("items made of", f"{' and '.join(found)}, as they have no texts")]


def _overruled(inspection: Inspection) -> list[str]:
    """What is chosen by size as a rule and has another value by the preset."""
    preset = inspection.preset
    return [
        f"{choice.section}.{choice.key}: {preset.get(choice.section, choice.key)} by the preset {preset.name}; by "
        f"size it would be {choice.value}, for {choice.reason}"
        for choice in _by_size(inspection)
        if preset.names(choice.section, choice.key) and preset.get(choice.section, choice.key) != choice.value
    ]


def _choose_core(usable: pd.DataFrame) -> tuple[Core, NDArray[Any]]:
    """The first of CORES that keeps enough interactions and items, else the last; and the ids of its items."""
    for min_user, min_item in CORES:
        kept = usable[k_core(usable, min_user, min_item)]
        item_ids = kept["item_id"].unique()
        core = Core(min_user, min_item, kept["user_id"].nunique(), len(item_ids), len(kept))
        if len(kept) >= KEPT_SHARE * max(1, len(usable)) and core.items >= MIN_ITEMS:
            break
    return core, np.asarray(item_ids, dtype=object)


def _why_nothing(interactions: pd.DataFrame, items: pd.DataFrame, usable: pd.DataFrame, core: Core) -> str:
    """What to change where no interaction outlasts preparation."""
    if join := explain_join(interactions["item_id"], items["item_id"]):
        return f"{join}. Write the ids of both alike"
    least = CORES[-1][0]
    if core.items == 1:
        return f"users with at least {least} interactions took one item only; does item_id name what was taken?"
    if core.users:
        return (
            f"no user has more than {UNTAUGHT} interactions; the last two are for validation and test, and the "
            "first has nothing before it; give longer histories"
        )
    return (
        f"expected users with at least {least} interactions, found none among {interactions['user_id'].nunique():,} "
        f"users with {len(usable):,} usable interactions; does user_id name who acted?"
    )


def _core_warnings(core: Core, usable: int) -> list[str]:
    if core.interactions == usable:
        return []
    lost = usable - core.interactions
    return [f"users and items with too few interactions leave, and {lost:,} of {usable:,} interactions with them"]


def _unused(inspection: Inspection) -> list[FoundEmbedding]:
    """Embeddings that the suggested conf does not name."""
    used = suggest(inspection)["ingest"].get("embeddings", {})
    return [item for item in inspection.embeddings if used.get(item.modality) != item.name]


def _offer(item: FoundEmbedding) -> str:
    section = "encode_collaborative.encoder" if item.modality == "collaborative" else f"encode_content.{item.modality}"
    return (
        f"embeddings/{item.modality}_{item.name}.npz: the conf does not name it; to use it, put "
        f"`{item.modality}: {item.name}` under ingest.embeddings and set {section} to precomputed"
    )


def _comment(text: str) -> str:
    """One line, whatever line breaks a column's or file's name holds."""
    return "#" + "".join(" " if character in LINE_BREAKS else character for character in text)
