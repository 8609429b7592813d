"""Items with a row for each variant, such as a size: which columns tell the rows apart."""

import pandas as pd

from mmesid.artifacts.items import text_columns


def explain_variants(items: pd.DataFrame) -> str | None:
    """A sentence where the rows of each item would be equal without some of the text columns; None elsewhere.

    Args:
        items: as in `Catalogue`.
    """
    repeated = items[items["item_id"].duplicated(keep=False) & items["item_id"].notna()]
    by_item = repeated.astype(object).fillna("\0").groupby("item_id")
    names = text_columns(items)
    differing = [name for name in names if (by_item[name].nunique() > 1).any()]
    same = [name for name in names if name not in differing and repeated[name].notna().any()]
    if not differing or not same or (by_item["image_name"].nunique() > 1).any():
        return None
    return (
        f"rows of an item differ in {', '.join(differing)} alone: with ingest.text: [{', '.join(same)}] they are "
        "equal, and validate.max_duplicate_items lets equal rows pass"
    )
