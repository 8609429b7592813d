"""What an id is in tables and embeddings: text without outer white space or invisible characters. 1198.0 is 1198, 007
stays 007, and blank is no id, nor is `nan` or `NULL` among numbers. Of ids that stand alone
`artifacts.items.canonical_id` makes the same.
"""

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmesid.artifacts.items import BLANK, CONTROLS, INVISIBLE
from mmesid.data.id_doubts import doubts, without_words
from mmesid.data.tables import EXACT, SINGLE, Origin, as_pandas, is_whole, shortened, written
from mmesid.errors import DataError

WHOLE = r"^-?\d+(\.0*)?$"  # 1198, 1198.0
GROUPED = r"^-?\d{1,3}\.000$"  # 1.000: one, or a thousand as Germans write it
BLANK_ASCII = "".join(character for character in BLANK if character.isascii())
ROUNDED = r"^-?\d([.,]\d+)?[eE]\+\d+$"  # 1.23E+12: what a spreadsheet leaves of a long number


def canonical_ids(column: Any, name: str, origin: Origin) -> tuple["pd.Series[str]", list[str]]:
    """A column of ids as text or null, and sentences on what was cut off or is doubtful.

    Where every id of the column is a whole number, `.0` behind them goes, whether they are floats or text.

    Args:
        column: Arrow array.
        name: of the column, for messages.
        origin: where its rows came from.

    Raises:
        DataError: an id is an object or a list, has lost digits in a spreadsheet or as a float, or holds a line break;
            names its row.
    """
    text = _numbers(column, name, origin) if pa.types.is_floating(column.type) else written(column)
    _refuse_nested(text, name, origin)
    ascii_alone = pc.all(pc.string_is_ascii(text)).as_py() is not False
    trimmed = (pc.ascii_trim if ascii_alone else pc.utf8_trim)(text, characters=BLANK_ASCII if ascii_alone else BLANK)
    changed = pc.not_equal(trimmed, text)
    count, notes = pc.sum(changed).as_py() or 0, []
    if count:
        first = pc.index(changed, True).as_py()
        first_id = text[first].as_py()
        invisible = not ascii_alone or set(first_id) & set(CONTROLS)
        notes = [
            f"{name} with white space{' or invisible characters' if invisible else ''} around it, which is cut off: "
            f"{count:,}, the first is {first_id!r} in {origin.place(first)}"
        ]
        text = trimmed
    shown = CONTROLS if ascii_alone else INVISIBLE
    if inside := pc.sum(hidden := pc.match_substring_regex(text, f"[{shown}]")).as_py():
        first = pc.index(hidden, True).as_py()
        notes.append(
            f"{name} with invisible characters inside, which stay: {inside:,}, the first is {text[first].as_py()!r} in "
            f"{origin.place(first)}"
        )
    broken = pc.match_substring_regex(text, r"[\r\n]")
    if pc.any(broken).as_py():
        first = pc.index(broken, True).as_py()
        raise DataError(
            f"{origin.place(first)}, column {name}: {text[first].as_py()[:60]!r} goes over several lines, as where a "
            f"quote is never closed; {pc.sum(broken).as_py():,} of {len(text):,} rows are like this. Mend the quotes"
        )
    blank = pc.equal(text, "")
    if pc.any(blank).as_py():
        text = pc.if_else(blank, None, text)
    text, words = without_words(text, name, origin)
    text, grouped = _without_fraction(text, name, origin)
    return as_pandas(text), [*notes, *words, *grouped, *doubts(text, name, origin)]


def canonical_array(values: NDArray[Any]) -> NDArray[Any]:
    """Ids of an array, such as an embedding file holds, as text; (n,) object, None where blank."""
    texts = np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
    column = pa.chunked_array([pa.array(texts.tolist() if texts.dtype.kind == "O" else texts)])
    ids, _ = canonical_ids(column, "item_id", Origin(["the array"], [len(values)]))
    return ids.astype(object).where(ids.notna(), None).to_numpy()


def _refuse_nested(text: Any, name: str, origin: Origin) -> None:
    """Raises DataError at an object, or a list of several values."""
    opening = pc.or_(pc.starts_with(text, "{"), pc.starts_with(text, "["))
    if not pc.any(opening).as_py():
        return
    for value in pc.unique(pc.filter(text, opening)).to_pylist():
        try:
            held = json.loads(value)
        except ValueError:
            continue
        if isinstance(held, dict) or len(held) > 1:
            first, what = pc.index(text, value).as_py(), "an object" if isinstance(held, dict) else "a list"
            hint = (
                "write the id that is meant of it" if isinstance(held, dict) else "write a row for each of its values"
            )
            raise DataError(
                f"{origin.place(first)}, column {name}: expected one id, found {what}, {shortened(value)}; {hint}"
            )


def _without_fraction(text: Any, name: str, origin: Origin) -> tuple[Any, list[str]]:
    """1198.0 becomes 1198 where all are such numbers, and a sentence where it is doubtful whether they are.

    Raises:
        DataError: a spreadsheet has rounded them.
    """
    if not pc.any(pc.match_substring(text, ".")).as_py() and not pc.any(pc.match_substring(text, "+")).as_py():
        return text, []
    rounded = pc.match_substring_regex(text, ROUNDED)
    if pc.any(rounded).as_py():
        first = pc.index(rounded, True).as_py()
        raise DataError(
            f"{origin.place(first)}, column {name}: {text[first].as_py()!r} is a number that a spreadsheet has "
            f"rounded; {pc.sum(rounded).as_py():,} of {len(text):,} rows are like this, and different ids look alike. "
            "Export the column as text"
        )
    if not pc.all(pc.match_substring_regex(text, WHOLE)).as_py():
        return text, []
    grouped = pc.match_substring_regex(text, GROUPED)
    if pc.any(grouped).as_py() and not pc.all(pc.match_substring(text, ".")).as_py():
        first = pc.index(grouped, True).as_py()
        return text, [
            f"{name} beside plain numbers may have points between thousands: {pc.sum(grouped).as_py():,}, as "
            f"{text[first].as_py()!r} in {origin.place(first)}; all stay as they are"
        ]
    return pc.replace_substring_regex(text, r"\.0*$", ""), []


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
