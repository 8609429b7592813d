"""What a person should know before a catalogue is run: rows that lead nowhere, items without text or picture."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmesid.artifacts.items import canonical_id, text_columns, texts
from mmesid.commands.content import differ
from mmesid.data.joins import explain_join
from mmesid.data.moments import NEARLY_ALL
from mmesid.data.picture_names import SUFFIX, SUFFIXES, parts_of
from mmesid.data.preparation import tied
from mmesid.data.tables import shortened

MANY = 0.05  # of the users: repeats that figures are made of


def interaction_gaps(interactions: pd.DataFrame, items: pd.DataFrame) -> list[str]:
    """A sentence for each kind of interaction that `prepare` leaves out or orders by the file.

    Args:
        interactions: canonical interactions.
        items: canonical items.
    """
    nameless = interactions[["user_id", "item_id"]].isna().any(axis=1)
    named = interactions[~nameless]
    repeated = named.duplicated(["user_id", "item_id", "timestamp"])
    fresh = named[~repeated]
    counts: dict[str, int] = {
        "interactions without user_id or item_id: {}": int(nameless.sum()),
        "interactions with an item that the items table lacks: {}": int(
            (~named["item_id"].isin(items["item_id"])).sum()
        ),
        "interactions that repeat user, item and timestamp: {}": int(repeated.sum()),
    }
    users, times = pd.factorize(fresh["user_id"])[0], fresh["timestamp"].to_numpy()
    decides = "the order of the file decides between them, or chance (prepare.ties: shuffled)"
    if _is_newest_first(users, times):
        decides = (
            "the order of the file decides between them, but a user's rows stand newest first in it, so that it is "
            "backwards: sort the file by time, the oldest first, or leave it to chance (prepare.ties: shuffled)"
        )
    shared = f"interactions that share user and time with another one: {{}} of {len(interactions):,}; {decides}"
    counts[shared] = int(tied(users, times).sum())
    n_users, again = fresh["user_id"].nunique(), _repeat_last(fresh)
    if again > MANY * n_users:
        counts[
            f"users whose last item is one that they had before: {{}} of {n_users:,}; such an item counts in "
            "evaluation, but no list offers it unless protocol.exclude_history is false"
        ] = again
    join = explain_join(interactions["item_id"], items["item_id"])
    return [*(text.format(f"{count:,}") for text, count in counts.items() if count), *([join] if join else [])]


def _is_newest_first(users: NDArray[np.int64], times: NDArray[np.int64]) -> bool:
    """Whether from row to row of a user time goes back, nearly wherever it changes."""
    order = np.argsort(users, kind="stable")
    before, after = times[order][:-1], times[order][1:]
    changes = (np.diff(users[order]) == 0) & (before != after)
    return bool(changes.any()) and bool((after < before)[changes].mean() >= NEARLY_ALL)


def _repeat_last(interactions: pd.DataFrame) -> int:
    """Users whose last interaction is with an item of an earlier one."""
    again = interactions.duplicated(["user_id", "item_id"], keep=False)
    rows = interactions[interactions["user_id"].isin(interactions["user_id"][again].unique())]
    rows = rows.sort_values(["user_id", "timestamp"], kind="stable")
    return int((rows.duplicated(["user_id", "item_id"]) & ~rows.duplicated("user_id", keep="last")).sum())


def item_gaps(items: pd.DataFrame, places: Sequence[str], near: Sequence[str] = ()) -> list[str]:
    """A sentence for each kind of gap among the items, where there are any.

    Args:
        items: canonical items with their pictures.
        places: of all picture files.
        near: files and folders whose names are much like `images/`.
    """
    unnamed, others = items["image_name"].isna().sum(), _other_kinds(items, places)
    counts = {
        "items without item_id: {}": items["item_id"].isna().sum(),
        "rows of the items table that repeat an item_id: {}": items["item_id"].dropna().duplicated().sum(),
        "items without any text, to be masked: {}": items[text_columns(items)].isna().all(axis=1).sum(),
        "items without a picture, to be masked: {}": unnamed if unnamed < len(items) else 0,
    }
    return [
        *(text.format(f"{count:,}") for text, count in counts.items() if count),
        *_says_nothing(items),
        *_lost_pictures(items),
        *others,
        *([] if items["image"].notna().any() or others else _unused_pictures(items, places, near)),
    ]


def _says_nothing(items: pd.DataFrame) -> list[str]:
    """A sentence for each kind of content that is one and the same for all that have it."""
    written, pictures = pd.Series(texts(items), dtype=object), items["image"].dropna()
    kinds = {"text": written[written != ""], "picture": pictures}
    return [
        f"all {len(values):,} items that have a {kind} have the same one: it tells nothing of them"
        for kind, values in kinds.items()
        if not differ(values)
    ]


def _lost_pictures(items: pd.DataFrame) -> list[str]:
    """For each kind of fault how many pictures have it, and the first of them beside the files' names."""
    if "image_fault" not in items:
        return []
    kinds = {
        "missing": "pictures that the items table names but that are not there: {}, as {} ({})",
        "ambiguous": "pictures that are not taken because two files fit: {}, as {} ({})",
        "shared": "pictures that are not taken because different names lead to one file: {}, as {} ({})",
    }
    lines = []
    for kind, text in kinds.items():
        of_kind = items[items["image_fault"].str.startswith(kind, na=False)]
        if len(of_kind):
            first = of_kind.iloc[0]
            fault = first["image_fault"].partition(": ")[2]
            lines.append(text.format(f"{len(of_kind):,}", shortened(first["image_name"]), fault))
    return lines


def _other_kinds(items: pd.DataFrame, places: Sequence[str]) -> list[str]:
    """A sentence on files that are named by an item's id but are of no kind that is looked for so."""
    lacking = {*items["item_id"][items["image"].isna()].dropna()}
    stems = {
        place: canonical_id(parts_of(place)[-1].rpartition(".")[0]) for place in places if not SUFFIX.search(place)
    }
    of_items = [place for place, stem in stems.items() if stem in lacking]
    if not of_items:
        return []
    return [
        f"files in images/ that are named by an item_id but are of no kind that is looked for: {len(of_items):,}, as "
        f"{of_items[0]!r}; looked for are {', '.join(SUFFIXES)}: convert them"
    ]


def _unused_pictures(items: pd.DataFrame, places: Sequence[str], near: Sequence[str]) -> list[str]:
    if not places:
        return [f"no picture is found, but there is {name}: pictures lie in images/ or images.zip" for name in near]
    known = items["item_id"].dropna()
    item_id = known.iloc[0] if len(known) else None
    return [
        f"picture files that no item uses: {len(places):,}, as {places[0]!r}; a picture is found by the column `image` "
        f"of the items table or by the item_id, as {item_id!r}"
    ]
