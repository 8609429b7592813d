"""Preparation that leaves nearly everything, and what it has made of each user."""

from mmesid.artifacts.values import Prepared
from mmesid.config import Prepare

LOOSE = Prepare(
    repeats="drop",
    ties="source",
    drop_items_without=[],
    min_user_interactions=3,
    min_item_interactions=1,
)


def histories(prepared: Prepared) -> dict[str, list[str]]:
    """Each user's items in order of time."""
    ids, sequences = prepared.items["item_id"].to_list(), prepared.sequences
    return {user: [ids[i - 1] for i in taken] for user, taken in zip(sequences.user_ids, sequences.items, strict=True)}
