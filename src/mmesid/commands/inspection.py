"""What a folder of files holds, and the first `conf/<dataset>.yaml` for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd
import yaml

from mmesid.artifacts.items import text_columns
from mmesid.commands.gaps import interaction_gaps, item_gaps
from mmesid.config import SECTIONS
from mmesid.data.embedding_files import list_embeddings, read_embedding
from mmesid.data.files import check_folder, read_interactions, read_items
from mmesid.data.formats import How
from mmesid.data.pictures import list_pictures
from mmesid.data.preparation import k_core, usable_interactions
from mmesid.errors import DataError

CORES = ((5, 5), (3, 3), (3, 1))  # k-cores to choose from: interactions per user, per item
KEPT_SHARE = 0.5  # of the usable interactions that a k-core must keep to be chosen
LINE_BREAKS = "\n\r\x85\u2028\u2029"  # what YAML ends a comment at
MAX_CODES = 256  # the default of tokenize.codes
ITEMS_PER_CODE = 4  # a codebook larger than a quarter of the items leaves codes without items
LARGE = 200_000  # training targets from which one pass is worth several over fewer
LARGE_EPOCHS = {"encode_collaborative": 8, "finetune": 3}
DENSE = 100  # interactions per item from which little dropout is enough
DENSE_DROPOUT = 0.2  # of SASRec, as its authors set it for MovieLens (arXiv 1808.09781)


class FoundEmbedding(NamedTuple):
    """A precomputed embedding that `ingest.embeddings` could name."""

    modality: str
    name: str
    width: int
    coverage: float  # share of the items that it has


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
    refused: Sequence[str] = ()  # what `validate` will not let pass
    ingest: Mapping[str, Any] = MappingProxyType({})  # how the files are to be read, beside the defaults

    def rows(self) -> list[tuple[str, str]]:
        """The findings as (subject, detail), for a person."""
        columns = ", ".join(f"{name} ({share:.0%})" for name, share in self.text_columns.items() if share) or "none"
        core = self.core
        return [
            ("users", f"{self.users:,}"),
            ("items", f"{self.items:,}"),
            ("interactions", f"{self.interactions:,}"),
            ("items with text", f"{self.with_text:.1%}; columns: {columns}"),
            ("items with a picture", f"{self.with_picture:.1%}"),
            *(
                (f"{found.modality} embedding", f"{found.name}: {found.width} wide, {found.coverage:.1%} of the items")
                for found in self.embeddings
            ),
            (
                "after preparation",
                f"{core.users:,} users with at least {core.min_user} interactions, {core.items:,} items with at least "
                f"{core.min_item}, {core.interactions:,} interactions",
            ),
            *(("refused", sentence) for sentence in self.refused),
            *(("warning", warning) for warning in self.warnings),
        ]


def inspect(
    folder: Path, ingest: Mapping[str, Any] | None = None, limits: Mapping[str, float] | None = None
) -> Inspection:
    """Look at a folder in the `files` format.

    Args:
        folder: the catalogue's folder.
        ingest: keys of the section `ingest` that say how to read it, beside the defaults.
        limits: the section `validate` of the parameters; without it nothing wrong is tolerated.

    Raises:
        DataError: the folder, a table or a column is missing or not what its name says.
    """
    check_folder(folder)
    given = dict(ingest or {})
    how = How(**given)
    (interactions, notes), (items, more) = read_interactions(folder, how), read_items(folder, how)
    embeddings, unusable = _embeddings(folder, items["item_id"])
    pictures = list_pictures(folder)
    filled = {column: float(items[column].notna().mean()) for column in text_columns(items)}
    usable = usable_interactions(interactions, items["item_id"])
    core = _choose_core(usable)
    gaps = interaction_gaps(interactions, items, limits or {})
    return Inspection(
        users=interactions["user_id"].nunique(),
        items=items["item_id"].nunique(),
        interactions=len(interactions),
        text_columns=filled,
        with_text=float(items[list(filled)].notna().any(axis=1).mean()),
        with_picture=float(items["image_name"].isin(list(pictures)).mean()),
        embeddings=embeddings,
        core=core,
        warnings=[
            *notes,
            *more,
            *gaps.others,
            *item_gaps(items, set(pictures)),
            *_core_warnings(core, len(usable)),
            *unusable,
        ],
        refused=gaps.refused,
        ingest=given,
    )


def suggest(inspection: Inspection) -> dict[str, dict[str, Any]]:
    """The overrides of `params.yaml` that fit the folder; where the defaults fit, nothing."""
    content = _encoders(inspection)
    sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    sections["ingest"] = {"source": "files", **inspection.ingest}
    used = {modality: _best(inspection, modality).name for modality, way in content.items() if way == "precomputed"}
    if used:
        sections["ingest"]["embeddings"] = used
    core = inspection.core
    if (core.min_user, core.min_item) != (5, 5):
        sections["prepare"] = {"min_user_interactions": core.min_user, "min_item_interactions": core.min_item}
    sections["encode_content"] = content
    codes = MAX_CODES
    while codes > 2 and codes * ITEMS_PER_CODE > core.items:
        codes //= 2
    if codes < MAX_CODES:
        sections["tokenize"] = {"codes": codes}
    if set(content.values()) == {"none"}:
        sections["init_codes"] = {"item_table": "random", "score_modalities": ["collaborative"]}
    if core.interactions >= DENSE * core.items:
        sections["encode_collaborative"]["dropout"] = DENSE_DROPOUT
    if core.interactions - 3 * core.users > LARGE:  # a user's first and last two items are no training targets
        for section, epochs in LARGE_EPOCHS.items():
            sections[section]["epochs"] = epochs
    return {section: values for section, values in sections.items() if values}


def render_conf(name: str, inspection: Inspection) -> str:
    """The text of `conf/<name>.yaml`: what was found as comments, and the suggested overrides."""
    found = [_comment(f"  {subject}: {detail}") for subject, detail in inspection.rows()]
    lines = [f"# {name}: what differs from params.yaml for this dataset alone. Found in its folder:", *found]
    sections = suggest(inspection)
    used = sections["ingest"].get("embeddings", {})
    unused = [item for item in inspection.embeddings if used.get(item.modality) != item.name]
    for section, values in sections.items():
        lines.append(yaml.safe_dump({section: values}, sort_keys=False, allow_unicode=True).rstrip())
        if section == "ingest":
            lines += [f"  {_comment(_offer(item))}" for item in unused]
    return "\n".join(lines) + "\n"


def _embeddings(folder: Path, item_ids: "pd.Series[str]") -> tuple[list[FoundEmbedding], list[str]]:
    """Embeddings that can be read and have some of the items, and a warning for each other one."""
    found, warnings = [], []
    for (modality, name), path in list_embeddings(folder).items():
        try:
            embedding = read_embedding(path)
        except DataError as error:
            warnings.append(f"not usable: {error}")
            continue
        coverage = float(item_ids.isin(list(embedding.item_ids)).mean())
        if coverage:
            found.append(FoundEmbedding(modality, name, embedding.matrix.shape[1], coverage))
        else:
            warnings.append(f"not usable: {path} has none of the item_id of the items table")
    return found, warnings


def _choose_core(usable: pd.DataFrame) -> Core:
    """The first of CORES that keeps enough, else the last."""
    cores = []
    for min_user, min_item in CORES:
        kept = usable[k_core(usable, min_user, min_item)]
        cores.append(Core(min_user, min_item, kept["user_id"].nunique(), kept["item_id"].nunique(), len(kept)))
        if len(kept) >= KEPT_SHARE * max(1, len(usable)):
            break
    return cores[-1]


def _core_warnings(core: Core, usable: int) -> list[str]:
    if core.interactions == usable:
        return []
    lost = usable - core.interactions
    return [f"users and items with too few interactions leave, and {lost:,} of {usable:,} interactions with them"]


def _encoders(inspection: Inspection) -> dict[str, Any]:
    """How texts and pictures become embeddings: the small open_clip model learns from pairs and so needs both."""
    pairs = inspection.with_picture > 0 and inspection.with_text > 0
    precomputed = {found.modality for found in inspection.embeddings}
    if "text" in precomputed:
        text = "precomputed"
    elif pairs:
        text = "open_clip"
    else:
        text = "lsa" if inspection.with_text else "none"
    image = "open_clip" if pairs else "precomputed" if "image" in precomputed else "none"
    return {"text": text, "image": image}


def _best(inspection: Inspection, modality: str) -> FoundEmbedding:
    return max((found for found in inspection.embeddings if found.modality == modality), key=lambda item: item.coverage)


def _offer(item: FoundEmbedding) -> str:
    section = "encode_collaborative.encoder" if item.modality == "collaborative" else f"encode_content.{item.modality}"
    return (
        f" also found: {item.modality}_{item.name}; to use it, put `{item.modality}: {item.name}` under "
        f"ingest.embeddings and set {section} to precomputed"
    )


def _comment(text: str) -> str:
    """One line, whatever line breaks a column's or file's name holds."""
    return "#" + "".join(" " if character in LINE_BREAKS else character for character in text)
