"""What a person should know before a catalogue is run: rows that lead nowhere, items without text or picture."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmesid.artifacts.items import text_columns
from mmesid.data.joins import explain_join
from mmesid.data.picture_names import Found
from mmesid.data.preparation import tied


class Gaps(NamedTuple):
    """Sentences on a table."""

    refused: list[str]  # what `validate` does not let pass
    others: list[str]


def interaction_gaps(interactions: pd.DataFrame, items: pd.DataFrame, limits: Mapping[str, float]) -> Gaps:
    """A sentence for each kind of interaction that `validate` judges, where there are any.

    Args:
        interactions: canonical interactions.
        items: canonical items.
        limits: the section `validate` of the parameters.
    """
    nameless = interactions[["user_id", "item_id"]].isna().any(axis=1)
    named = interactions[~nameless]
    unknown = ~named["item_id"].isin(items["item_id"])
    repeated = named.duplicated(["user_id", "item_id", "timestamp"])
    fresh = named[~repeated]
    ties = int(tied(pd.factorize(fresh["user_id"])[0], fresh["timestamp"].to_numpy()).sum())
    refused: list[str] = []
    others: list[str] = []
    if count := int(nameless.sum()):
        refused.append(f"interactions without user_id or item_id: {count:,}; `validate` refuses them, mend the source")
    judged = {
        "max_unknown_items": (unknown, "interactions with an item that the items table lacks", "leaves them out"),
        "max_duplicates": (repeated, "interactions that repeat user, item and timestamp", "keeps each once"),
    }
    for key, (wrong, what, then) in judged.items():
        if wrong.any():
            limit, first = limits.get(key, 0.0), named[wrong].iloc[0]
            passes = wrong.sum() <= limit * len(interactions)
            sentence = _judge(int(wrong.sum()), len(interactions), what, key, limit, then)
            (others if passes else refused).append(f"{sentence}; the first: {first['file']}, row {first['row']}")
    if join := explain_join(interactions["item_id"], items["item_id"]):
        refused.append(join)
    if ties:
        others.append(
            f"interactions that share user and time with another one: {ties:,} of {len(interactions):,}; the order of "
            "the file decides between them"
        )
    return Gaps(refused, others)


def _judge(count: int, of: int, what: str, key: str, limit: float, then: str) -> str:
    """What the gate will say, and the limit that lets it pass."""
    share = count / of
    if share <= limit:
        return f"{what}: {count:,} (within validate.{key}: {limit:g}; `prepare` {then})"
    needed = np.ceil(share * 1000) / 1000
    return (
        f"{what}: {count:,} of {of:,}; `validate` refuses more than validate.{key} ({limit:g}). Mend the source, or "
        f"put `validate: {{{key}: {needed:g}}}` into the conf: then `prepare` {then}"
    )


def item_gaps(items: pd.DataFrame, found: Sequence[Found], places: Sequence[str]) -> list[str]:
    """A sentence for each kind of gap among the items, where there are any.

    Args:
        items: canonical items, without their pictures.
        found: the picture file of each item.
        places: of all picture files.
    """
    unnamed = sum(one == (None, None) for one in found)
    counts = {
        "items without item_id: {}": items["item_id"].isna().sum(),
        "rows of the items table that repeat an item_id: {}": items["item_id"].dropna().duplicated().sum(),
        "items without any text, to be masked: {}": items[text_columns(items)].isna().all(axis=1).sum(),
        "items without a picture, to be masked: {}": unnamed if unnamed < len(found) else 0,
    }
    used = any(one.place is not None for one in found)
    return [
        *(text.format(f"{count:,}") for text, count in counts.items() if count),
        *_lost_pictures(items, found),
        *([] if used or not places else [_unused_pictures(items, places)]),
    ]


def _lost_pictures(items: pd.DataFrame, found: Sequence[Found]) -> list[str]:
    """For each kind of fault how many pictures have it, and the first of them beside the files' names."""
    named = items["image_name"].fillna(items["item_id"])
    faults = [(name, one.fault) for name, one in zip(named, found, strict=True) if one.fault]
    kinds = {
        "missing": "pictures that the items table names but that are not there: {}, as {!r} ({})",
        "ambiguous": "pictures that are not taken because two files fit: {}, as {!r} ({})",
    }
    lines = []
    for kind, text in kinds.items():
        of_kind = [(name, fault.partition(": ")[2]) for name, fault in faults if fault.startswith(kind)]
        if of_kind:
            lines.append(text.format(f"{len(of_kind):,}", *of_kind[0]))
    return lines


def _unused_pictures(items: pd.DataFrame, places: Sequence[str]) -> str:
    known = items["item_id"].dropna()
    item_id = known.iloc[0] if len(known) else None
    return (
        f"picture files that no item uses: {len(places):,}, as {places[0]!r}; a picture is found by the column `image` "
        f"of the items table or by the item_id, as {item_id!r}"
    )
