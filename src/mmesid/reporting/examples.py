"""Users as a reader sees them: what they took, what was recommended, and what they took next."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from mmesid.reporting.pictures import thumbnail

SHOWN_HISTORY = 6  # latest items; the rest is counted
_NOT_TEXT = ("item_id", "image", "image_name", "file", "row")


class Tile(NamedTuple):
    """An item with its title and thumbnail; `target` marks the one that the user took next."""

    title: str
    picture: str | None
    target: bool


class Example(NamedTuple):
    """A test user: the latest items, how many came earlier, what was recommended, what came next."""

    user_id: str
    earlier: int
    history: list[Tile]
    recommended: list[Tile]
    target: Tile

    @property
    def hit(self) -> int | None:
        """Place of the target among the recommended items, counted from 1; None where it is not among them."""
        return next((place for place, tile in enumerate(self.recommended, 1) if tile.target), None)


def build(chosen: Sequence[Mapping[str, Any]], items: pd.DataFrame, users: int, recommendations: int) -> list[Example]:
    """Join users' item numbers to titles and pictures.

    Args:
        chosen: entries {user_id, history: [item], target: item, recommended: [{item, score}]}, items numbered 1..N.
        items: one row per item 1..N, as `prepare` writes them.
        users: how many of the entries are shown, at most.
        recommendations: how many recommended items are shown, at most.
    """
    catalogue = _Catalogue(items)
    examples = []
    for entry in chosen[:users]:
        history, target = list(entry["history"]), entry["target"]
        recommended = [
            catalogue.tile(found["item"], found["item"] == target) for found in entry["recommended"][:recommendations]
        ]
        shown = [catalogue.tile(item) for item in history[-SHOWN_HISTORY:]]
        earlier = max(0, len(history) - SHOWN_HISTORY)
        examples.append(Example(str(entry["user_id"]), earlier, shown, recommended, catalogue.tile(target, True)))
    return examples


class _Catalogue:
    """Looks up items by number; a title is the first text column that is not empty, else the item's own id."""

    def __init__(self, items: pd.DataFrame) -> None:
        self._items = items
        self._texts = [column for column in items.columns if column not in _NOT_TEXT]

    def tile(self, item: int, target: bool = False) -> Tile:
        row = self._items.iloc[item - 1]
        texts = (row[column] for column in self._texts)
        title = next((text for text in texts if isinstance(text, str) and text.strip()), str(row["item_id"]))
        image = row.get("image")
        return Tile(title, thumbnail(image) if isinstance(image, bytes) else None, target)
