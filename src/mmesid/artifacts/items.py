"""What an item says of itself: its id, which of its columns are text, its text as one, its title."""

import re

import pandas as pd

NOT_TEXT = ("item_id", "image", "image_name", "image_fault", "file", "row")

CONTROLS = "".join(chr(code) for code in (*range(9), *range(0x0E, 0x1C), 0x7F))  # but for white space
INVISIBLE = CONTROLS + "".join(  # soft hyphen, zero-width characters, marks of direction, byte order mark
    chr(code) for code in (0xAD, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
)
BLANK = INVISIBLE + "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
WHOLE = re.compile(r"(-?\d+)\.0+")  # 1198.0


def canonical_id(value: object) -> str:
    """An id that stands alone, as in a request or the name of a file, as tables write it; empty where it is blank.

    Outer white space and invisible characters go, and so does the fraction of a whole number: 1198.0 is 1198, 007 stays
    007.
    """
    text = str(value).strip(BLANK)
    whole = WHOLE.fullmatch(text)
    return whole[1] if whole else text


def text_columns(items: pd.DataFrame) -> list[str]:
    """The columns that hold an item's text, in the order of the table (title first)."""
    return [column for column in items.columns if column not in NOT_TEXT]


def texts(items: pd.DataFrame, separator: str = ". ") -> list[str]:
    """Each item's text columns joined, blank ones left out; empty where the item has no text.

    Args:
        items: columns as in `Catalogue.items`.
        separator: between two columns.
    """
    return [separator.join(parts) for parts in _filled(items)]


def titles(items: pd.DataFrame) -> list[str]:
    """Each item's name for people: its first text that is not blank, else its id."""
    ids = items["item_id"].astype(str)
    return [parts[0] if parts else item_id for parts, item_id in zip(_filled(items), ids, strict=True)]


def _filled(items: pd.DataFrame) -> list[list[str]]:
    """The texts of each item that are not blank, without the space around them."""
    columns = [items[name] for name in text_columns(items)]
    rows = zip(*columns, strict=True) if columns else [()] * len(items)
    return [[part.strip() for part in row if isinstance(part, str) and part.strip()] for row in rows]
