"""From canonical tables to sequences: tolerated faults leave, k-core, contiguous ids, chronological order."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmesid.artifacts.items import texts
from mmesid.artifacts.pictures import decode
from mmesid.artifacts.values import Catalogue, Prepared, Sequences
from mmesid.config import Prepare
from mmesid.errors import DataError

MIN_ITEMS = 2  # with one item alone there is nothing to choose from
LEFT_BEHIND = ["image", "image_fault", "file", "row"]  # columns of the catalogue that no later stage needs


def prepare(catalogue: Catalogue, settings: Prepare, seed: int = 0) -> Prepared:
    """Make the sequences that every later stage works on.

    Rows that `validate` tolerates but nobody can use leave first: null ids, interactions of unknown items, items that
    stand once more and, unless `repeats` is `keep`, repetitions of the same user, item and timestamp; with them go
    items that lack what `drop_items_without` names. Then users and items with too few interactions leave, until all
    have enough (the k-core). Ids 1..N and the order of users follow the first appearance among the interactions that
    remain; `ties` says in which order equal timestamps of a user stand.

    Args:
        catalogue: as `ingest` wrote it.
        settings: which items leave, what becomes of repetitions and ties, and the bounds of the k-core.
        seed: of the order of ties that are shuffled.

    Returns:
        Sequences over ids 1..N, and one row per id with the columns of `Catalogue.items` except picture and origin;
        the pictures apart.

    Raises:
        DataError: no interaction remains, or all that remain are of one item.
    """
    items = catalogue.items.dropna(subset="item_id").drop_duplicates("item_id")
    for kind in settings.drop_items_without:
        items = items[HAS[kind](items)]
    usable = usable_interactions(catalogue.interactions, items["item_id"], settings.repeats)
    kept = usable[k_core(usable, settings.min_user_interactions, settings.min_item_interactions)]
    if kept["item_id"].nunique() < MIN_ITEMS:
        raise DataError(_too_little(catalogue.interactions, usable, kept, settings))
    user, user_ids = pd.factorize(kept["user_id"])
    item, item_ids = pd.factorize(kept["item_id"])
    order = np.lexsort((TIES[settings.ties](kept, seed), kept["timestamp"].to_numpy(), user))
    bounds = np.cumsum(np.bincount(user))[:-1]
    sequences = Sequences(list(user_ids), np.split(item[order].astype(np.int64) + 1, bounds), len(item_ids))
    table = items.set_index("item_id").loc[item_ids].reset_index()
    pictures = [image if isinstance(image, bytes) else None for image in table["image"]]
    return Prepared(sequences, table.drop(columns=LEFT_BEHIND, errors="ignore"), pictures)


def source_order(interactions: pd.DataFrame, seed: int) -> NDArray[np.uint64]:
    """Ties keep the order of the files and their rows: (rows,) all equal, for a stable sort."""
    return np.zeros(len(interactions), dtype=np.uint64)


def shuffled_order(interactions: pd.DataFrame, seed: int) -> NDArray[np.uint64]:
    """Ties in random order: (rows,) SipHash of user, item, time and repetition under the seed, 0 where there is no tie.

    The order of the rows makes no difference.
    """
    places = np.flatnonzero(tied(pd.factorize(interactions["user_id"])[0], interactions["timestamp"].to_numpy()))
    rows = interactions.iloc[places][["user_id", "item_id", "timestamp"]]
    repetition = rows.groupby(list(rows.columns)).cumcount()
    parts = zip(rows["user_id"], rows["item_id"], rows["timestamp"], repetition, strict=True)
    names = np.array([f"{len(user)} {user} {item} {time} {number}" for user, item, time, number in parts], dtype=object)
    order = np.zeros(len(interactions), dtype=np.uint64)
    order[places] = pd.util.hash_array(names, hash_key=f"{seed % 10**16:016d}", categorize=False)
    return order


def has_text(items: pd.DataFrame) -> "pd.Series[bool]":
    """Which items have any text: (rows,)."""
    return pd.Series([bool(text) for text in texts(items)], items.index, dtype=bool)


def has_image(items: pd.DataFrame) -> "pd.Series[bool]":
    """Which items have a picture that opens and is more than a single pixel, which shops show where they have none."""
    with ThreadPoolExecutor() as pool:  # decoding leaves the interpreter's lock
        return pd.Series(list(pool.map(_shows, items["image"])), items.index, dtype=bool)


# What an item may lack so that it leaves: (rows,) whether each has it.
HAS: dict[str, Callable[[pd.DataFrame], "pd.Series[bool]"]] = {"text": has_text, "image": has_image}


# What decides between interactions of a user that have the same time: (rows,) to sort by after user and time.
TIES: dict[str, Callable[[pd.DataFrame, int], NDArray[np.uint64]]] = {
    "source": source_order,
    "shuffled": shuffled_order,
}


def tied_share(catalogue: Catalogue, prepared: Prepared, settings: Prepare) -> float:
    """Share of the prepared interactions that share user and time with another one.

    Args:
        catalogue: from which they were made.
        prepared: what was made of it.
        settings: with which.
    """
    rows = usable_interactions(catalogue.interactions, prepared.items["item_id"], settings.repeats)
    rows = rows[rows["user_id"].isin(prepared.sequences.user_ids)]  # the k-core: its users' and items' interactions
    return float(tied(pd.factorize(rows["user_id"])[0], rows["timestamp"].to_numpy()).mean())


def usable_interactions(interactions: pd.DataFrame, known: "pd.Series[str]", repeats: str = "drop") -> pd.DataFrame:
    """Interactions with a user and a known item; with `drop`, none that repeats an earlier user, item and timestamp."""
    rows = interactions.dropna(subset=["user_id", "item_id"])
    rows = rows[rows["item_id"].isin(known)]
    return rows if repeats == "keep" else rows.drop_duplicates(["user_id", "item_id", "timestamp"])


def k_core(interactions: pd.DataFrame, min_user: int, min_item: int) -> NDArray[np.bool_]:
    """The largest subset in which each user has at least `min_user` interactions and each item `min_item`.

    Returns:
        (rows,) True for the interactions that remain.
    """
    user, user_ids = pd.factorize(interactions["user_id"])
    item, item_ids = pd.factorize(interactions["item_id"])
    kept = np.ones(len(interactions), dtype=np.bool_)
    while True:
        users = np.bincount(user[kept], minlength=len(user_ids))
        items = np.bincount(item[kept], minlength=len(item_ids))
        core = kept & (users[user] >= min_user) & (items[item] >= min_item)
        if core.sum() == kept.sum():
            return core
        kept = core


def tied(users: NDArray[np.int64], timestamps: NDArray[Any]) -> NDArray[np.bool_]:
    """Which interactions share user and time with another one, so that the order of the file decides between them.

    Args:
        users: (rows,) a number for each user, negative where there is none.
        timestamps: (rows,) numbers.
    """
    order = np.argsort(users, kind="stable")
    user, time = users[order], timestamps[order]
    if ((user[1:] == user[:-1]) & (time[1:] < time[:-1])).any():  # most files are in order, and one sort is enough
        order = np.lexsort((timestamps, users))
        user, time = users[order], timestamps[order]
    same = (user[1:] == user[:-1]) & (time[1:] == time[:-1]) & (user[1:] >= 0)
    found = np.zeros(len(users), dtype=np.bool_)
    found[order[1:]] |= same
    found[order[:-1]] |= same
    return found


def _shows(image: object) -> bool:
    if not isinstance(image, bytes):
        return False
    try:
        return max(decode(image).size) > 1
    except Exception:  # decoders raise whatever the bytes make them trip over
        return False


def _too_little(interactions: pd.DataFrame, usable: pd.DataFrame, kept: pd.DataFrame, settings: Prepare) -> str:
    per_user = usable.groupby("user_id").size().max() if len(usable) else 0
    per_item = usable.groupby("item_id").size().max() if len(usable) else 0
    if kept.empty:
        what, removes = "no interaction is left", "removes them all"
    else:
        what, removes = "one item is left, and there must be two to choose from", f"leaves {len(kept):,} of it"
    known = "known item"
    if settings.drop_items_without:
        known += f" that has what prepare.drop_items_without asks ({', '.join(settings.drop_items_without)})"
    return (
        f"{what}: of {len(interactions):,} interactions {len(usable):,} have a user and a {known}, "
        f"and the k-core ({settings.min_user_interactions} per user, {settings.min_item_interactions} per item) "
        f"{removes}; the busiest user has {per_user}, the most frequent item {per_item}. "
        "Lower prepare.min_user_interactions or prepare.min_item_interactions, or give more data"
    )
