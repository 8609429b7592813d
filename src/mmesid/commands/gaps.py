"""What a person should know before a catalogue is run: rows that lead nowhere, items without text or picture."""

import pandas as pd

from mmesid.artifacts.items import text_columns


def interaction_gaps(interactions: pd.DataFrame, items: pd.DataFrame) -> list[str]:
    """A sentence for each kind of interaction that `validate` judges, where there are any."""
    nameless = interactions[["user_id", "item_id"]].isna().any(axis=1)
    named = interactions[~nameless]
    unknown = ~named["item_id"].isin(items["item_id"])
    repeated = named.duplicated(["user_id", "item_id", "timestamp"])
    counts = {
        "interactions without user_id or item_id: {}": nameless.sum(),
        "interactions with an item that the items table lacks: {} (limit: validate.max_unknown_items)": unknown.sum(),
        "interactions that repeat user, item and timestamp: {} (limit: validate.max_duplicates)": repeated.sum(),
    }
    return [text.format(f"{count:,}") for text, count in counts.items() if count]


def item_gaps(items: pd.DataFrame, pictures: set[str]) -> list[str]:
    """A sentence for each kind of gap among the items, where there are any.

    Args:
        items: canonical items, without their pictures.
        pictures: names of the picture files that exist.
    """
    named = items["image_name"].notna()
    lost = named & ~items["image_name"].isin(list(pictures))
    counts = {
        "items without item_id: {}": items["item_id"].isna().sum(),
        "rows of the items table that repeat an item_id: {}": items["item_id"].dropna().duplicated().sum(),
        "items without any text, to be masked: {}": items[text_columns(items)].isna().all(axis=1).sum(),
        "items without a picture, to be masked: {}": (~named).sum() if named.any() else 0,
        "pictures that the items table names but that are not there: {}": lost.sum(),
        "pictures that no column `image` of the items table names: {}": 0 if named.any() else len(pictures),
    }
    return [text.format(f"{count:,}") for text, count in counts.items() if count]
