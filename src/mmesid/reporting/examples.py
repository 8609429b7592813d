"""Users as a reader sees them: what they took, what was recommended, and what they took next."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from mmesid.artifacts.items import titles
from mmesid.reporting.pictures import thumbnail

SHOWN_HISTORY = 6  # latest items; the rest is counted


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


def build(
    chosen: Sequence[Mapping[str, Any]],
    items: pd.DataFrame,
    pictures: Sequence[bytes | None],
    users: int,
    recommendations: int,
) -> list[Example]:
    """Join users' item numbers to titles and pictures.

    Args:
        chosen: entries {user_id, history: [item], target: item, recommended: [{item, score}]}, items numbered 1..N.
        items: one row per item 1..N, as `prepare` writes them.
        pictures: picture files of the same items, None where there is none.
        users: how many of the entries are shown, at most.
        recommendations: how many recommended items are shown, at most.
    """
    catalogue = _Catalogue(titles(items), pictures)
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


class _Catalogue(NamedTuple):
    """What is shown of the items 1..N."""

    titles: Sequence[str]
    pictures: Sequence[bytes | None]

    def tile(self, item: int, target: bool = False) -> Tile:
        picture = self.pictures[item - 1]
        return Tile(self.titles[item - 1], thumbnail(picture) if picture is not None else None, target)
