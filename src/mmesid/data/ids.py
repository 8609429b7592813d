"""What an id is in tables and embeddings: text without outer white space. 1198.0 is 1198, 007 stays 007, and blank is
no id. Of ids that stand alone `artifacts.items.canonical_id` makes the same.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmesid.data.tables import EXACT, Origin, as_pandas, is_whole, written
from mmesid.errors import DataError

WHOLE = r"^-?\d+(\.0*)?$"  # 1198, 1198.0
ROUNDED = r"^-?\d(\.\d+)?[eE]\+\d+$"  # 1.23E+12: what a spreadsheet leaves of a long number
SINGLE = 2.0**24  # from here on 32-bit floats skip whole numbers


def canonical_ids(column: Any, name: str, origin: Origin) -> tuple["pd.Series[str]", list[str]]:
    """A column of ids as text or null, and a sentence where some had outer white space.

    Where every id of the column is a whole number, `.0` behind them goes, whether they are floats or text.

    Args:
        column: Arrow array.
        name: of the column, for messages.
        origin: where its rows came from.

    Raises:
        DataError: an id has lost digits in a spreadsheet or as a float, or holds a line break; names its row.
    """
    text = _numbers(column, name, origin) if pa.types.is_floating(column.type) else written(column)
    trimmed = pc.utf8_trim_whitespace(text)
    changed = pc.not_equal(trimmed, text)
    count, notes = pc.sum(changed).as_py() or 0, []
    if count:
        first = pc.index(changed, True).as_py()
        notes = [
            f"{name} with white space around it, which is cut off: {count:,}, the first is {text[first].as_py()!r} in "
            f"{origin.place(first)}"
        ]
        text = trimmed
    broken = pc.match_substring(text, "\n")
    if pc.any(broken).as_py():
        first = pc.index(broken, True).as_py()
        raise DataError(
            f"{origin.place(first)}, column {name}: {text[first].as_py()[:60]!r} goes over several lines, as where a "
            f"quote is never closed; {pc.sum(broken).as_py():,} of {len(text):,} rows are like this. Mend the quotes"
        )
    blank = pc.equal(text, "")
    if pc.any(blank).as_py():
        text = pc.if_else(blank, None, text)
    return as_pandas(_without_fraction(text, name, origin)), notes


def canonical_array(values: NDArray[Any]) -> NDArray[Any]:
    """Ids of an array, such as an embedding file holds, as text; (n,) object, None where blank."""
    texts = np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
    column = pa.chunked_array([pa.array(texts.tolist() if texts.dtype.kind == "O" else texts)])
    ids, _ = canonical_ids(column, "item_id", Origin(["the array"], [len(values)]))
    return ids.astype(object).where(ids.notna(), None).to_numpy()


def _without_fraction(text: Any, name: str, origin: Origin) -> Any:
    """1198.0 becomes 1198 where all are such numbers; raises DataError at what a spreadsheet has rounded."""
    if not pc.any(pc.match_substring(text, ".")).as_py() and not pc.any(pc.match_substring(text, "+")).as_py():
        return text
    rounded = pc.match_substring_regex(text, ROUNDED)
    if pc.any(rounded).as_py():
        first = pc.index(rounded, True).as_py()
        raise DataError(
            f"{origin.place(first)}, column {name}: {text[first].as_py()!r} is a number that a spreadsheet has "
            f"rounded; {pc.sum(rounded).as_py():,} of {len(text):,} rows are like this, and different ids look alike. "
            "Export the column as text"
        )
    if pc.all(pc.match_substring_regex(text, WHOLE)).as_py():
        return pc.replace_substring_regex(text, r"\.0*$", "")
    return text


def _numbers(column: Any, name: str, origin: Origin) -> Any:
    """Floats as text; raises DataError where they are too large to be told apart."""
    column = pc.if_else(pc.is_finite(column), column, None)
    limit = SINGLE if pa.types.is_float32(column.type) else EXACT
    large = pc.greater_equal(pc.abs(column), limit)
    if pc.any(large).as_py():
        first = pc.index(large, True).as_py()
        raise DataError(
            f"{origin.place(first)}, column {name}: {column[first].as_py():.0f} is a float too large to hold every "
            "whole number, so that different ids look alike; store ids as text or as integers"
        )
    return column.cast(pa.int64()).cast(pa.large_string()) if is_whole(column) else written(column)
