"""Why the ids of two tables do not meet: an id of each side, and how they differ."""

import re
import unicodedata
from collections.abc import Callable

import pandas as pd

from mmesid.artifacts.items import INVISIBLE

THIN = 0.9  # share of interactions with a known item below which the join is explained
_SEARCHED = 1000  # unknown ids that are compared
ALIKE = "the Unicode form of a letter"  # both look the same
DIFFERENCES: dict[str, Callable[[str], str]] = {
    ALIKE: lambda text: unicodedata.normalize("NFC", text),
    "invisible characters": lambda text: re.sub(f"[{INVISIBLE}]", "", text),
    "leading zeros": lambda text: text.lstrip("0"),
    "upper and lower case": str.casefold,
    "quotation marks": lambda text: text.strip("\"'`"),
    "white space inside": lambda text: re.sub(r"\s+", "", text),
    "a fraction": lambda text: re.sub(r"\.0*$", "", text),
    "a prefix": lambda text: re.sub(r"^.*?(\d+)$", r"\1", text),
    "an ending": lambda text: re.sub(r"^([^._-]+)[._-].*$", r"\1", text),
}


def explain_join(interactions: "pd.Series[str]", items: "pd.Series[str]") -> str | None:
    """A sentence on why items of the interactions are unknown.

    Where nine in ten are known it is None, unless an unknown id looks the same as a known one.

    Args:
        interactions: item_id of each interaction.
        items: item_id of each item.
    """
    wanted = interactions.dropna()
    unknown = wanted[~wanted.isin(items)]
    few = len(unknown) <= (1 - THIN) * len(wanted)
    distinct = unknown.unique().tolist()
    strange = ([text for text in distinct if not text.isascii()] if few else distinct)[:_SEARCHED]
    if not strange:
        return None
    known = items.dropna().unique().tolist()
    start = f"{len(unknown):,} of {len(wanted):,} interactions have an item that the items table lacks: "
    for name, simplify in DIFFERENCES.items():
        if few and name != ALIKE:
            return None
        if pair := _pair(strange, known, simplify):
            sides = [ascii(text) if name == ALIKE else repr(text) for text in pair]
            return f"{start}{sides[0]} in interactions, {sides[1]} in items; they differ by {name}"
    if 2 * len(unknown) < len(wanted):
        return f"{start}such as {strange[0]!r}"
    shown = repr(known[0]) if known else "none"
    return f"{start}{strange[0]!r} in interactions, {shown} in items; the two tables seem to count differently"


def _pair(strange: list[str], known: list[str], simplify: Callable[[str], str]) -> tuple[str, str] | None:
    """An unknown and a known id that are equal once both are simplified."""
    simple = {simplify(text): text for text in known}
    return next(((text, simple[key]) for text in strange if (key := simplify(text)) in simple and key), None)
