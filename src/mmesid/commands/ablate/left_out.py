"""Why an ablation is left out on a dataset: trained there, it would be another one than it tells."""

from collections.abc import Mapping
from typing import Any

from mmesid.pipeline.ablations import Ablation

ITEMS = "init_codes.items"
READ_WITH = {  # keys of `init_codes` that one kind of items reads and the other does not
    "tied": ("item_modalities", "item_codes", "item_id", "temperature"),
    "table": ("item_table", "item_table_std", "input_table", "score_modalities", "fusion_temperature"),
}


def absent_modalities(ablation: Ablation, parameters: Mapping[str, Any]) -> list[str]:
    """Those that an ablation needs and a dataset has not.

    Args:
        ablation: that is asked for.
        parameters: of the dataset by section, as far as they are known.
    """
    content = parameters.get("encode_content", {})
    return [modality for modality in ablation.needs if content.get(modality) == "none"]


def unread(ablation: Ablation, parameters: Mapping[str, Any]) -> str:
    """A key that it changes and that nothing reads beside the items there, and what would; empty without one.

    Args:
        ablation: that is asked for.
        parameters: of the dataset by section, as far as they are known.
    """
    items = ablation.overrides.get(ITEMS, parameters.get("init_codes", {}).get("items"))
    others = ((kind, f"init_codes.{key}") for kind, keys in READ_WITH.items() for key in keys if kind != items)
    found = [f"{key} is for {ITEMS}: {kind}" for kind, key in others if items and key in ablation.overrides]
    return next(iter(found), "")
