"""What is doubtful about ids that can be read: words for no value, lost digits, one id written in two ways."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmesid.data.no_values import NO_VALUE
from mmesid.data.tables import Origin

NUMBER = r"^-?(0|[1-9]\d*)(\.0*)?$"  # 1198, 1198.0, not 007
FRACTION = r"^-?\d+\.0{1,2}$"  # 12.0; three zeros may be a thousand
UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
KEPT_DIGITS = 15  # of a number in a spreadsheet; it writes zeros for the others


def without_words(text: Any, name: str, origin: Origin) -> tuple[Any, list[str]]:
    """Ids with words like `nan` and `NULL` as null where all others are numbers, and a sentence where there are any.

    Beside ids that are words themselves such a word may be one, and stays.
    """
    is_word = pc.is_in(text, value_set=pa.array(sorted(NO_VALUE), text.type))
    count = pc.sum(is_word).as_py()
    if not count:
        return text, []
    first = pc.index(is_word, True).as_py()
    seen = f"{count:,}, the first is {text[first].as_py()!r} in {origin.place(first)}"
    others = pc.filter(text, pc.invert(is_word)).drop_null()
    if len(others) and pc.all(pc.match_substring_regex(others, NUMBER)).as_py():
        return pc.if_else(is_word, None, text), [f"{name} with a word for no value among numbers, read as none: {seen}"]
    return text, [
        f"{name} that may be a word for no value, and stays an id: {seen}; leave such cells empty where no id is meant"
    ]


def doubts(text: Any, name: str, origin: Origin) -> list[str]:
    """A sentence for each way in which different ids may have become one, or one id two.

    Args:
        text: canonical ids or null, an Arrow array.
        name: of the column, for messages.
        origin: where its rows came from.
    """
    ways = (_lost_digits, _two_fractions, _two_cases, _two_forms)
    return [sentence for way in ways for sentence in way(text, name, origin)]


def _lost_digits(text: Any, name: str, origin: Origin) -> list[str]:
    """Whether long numbers have only zeros behind the digits that a spreadsheet keeps."""
    if (pc.max(pc.binary_length(text)).as_py() or 0) <= KEPT_DIGITS:
        return []
    is_long = pc.match_substring_regex(text, rf"^\d{{{KEPT_DIGITS + 1},}}$")
    count = pc.sum(is_long).as_py() or 0
    if count < 2 or pc.any(pc.match_substring_regex(text, rf"^\d{{{KEPT_DIGITS}}}\d*[1-9]\d*$")).as_py():
        return []
    first = pc.index(is_long, True).as_py()
    return [
        f"{name} with more than {KEPT_DIGITS} digits, of which all but the first {KEPT_DIGITS} are zeros: {count:,}, "
        f"the first is {text[first].as_py()!r} in {origin.place(first)}; a spreadsheet keeps no more digits, "
        "and different ids become one; export the column as text"
    ]


def _two_fractions(text: Any, name: str, origin: Origin) -> list[str]:
    """Whether 12.0 and 12 both stand in a column of which some ids are no numbers."""
    if (
        not pc.any(pc.match_substring(text, ".")).as_py()
        or not pc.any(pc.match_substring_regex(text, FRACTION)).as_py()
    ):
        return []
    distinct = pc.unique(text)
    fractions = pc.filter(distinct, pc.match_substring_regex(distinct, FRACTION)).drop_null()
    plain = pc.replace_substring_regex(fractions, r"\.0*$", "")
    seen = _standing_twice(fractions, plain, text, origin)
    if not seen:
        return []
    return [f"{name} written with and without a fraction: {seen}; as not all are numbers, they stay different ids"]


def _standing_twice(ids: Any, simple: Any, text: Any, origin: Origin) -> str:
    """How many of some ids stand in their simple form as well, and where the first does both; empty where none does."""
    both = pc.and_(pc.is_in(simple, value_set=pc.unique(text)), pc.not_equal(simple, ids))
    if not (count := pc.sum(both).as_py()):
        return ""
    at = pc.index(both, True).as_py()
    pair = ids[at].as_py(), simple[at].as_py()
    shown = [f"{value!r} in {origin.place(pc.index(text, value).as_py())}" for value in pair]
    return f"{count:,}, as {' and '.join(shown)}"


def _two_cases(text: Any, name: str, origin: Origin) -> list[str]:
    """Whether a UUID stands in capital letters, as SQL Server writes it, and in small ones as well."""
    if not pc.any(pc.match_substring_regex(text, f"(?i){UUID}")).as_py():
        return []
    distinct = pc.unique(text).drop_null()
    distinct = pc.filter(distinct, pc.match_substring_regex(distinct, f"(?i){UUID}"))
    seen = _standing_twice(distinct, pc.utf8_lower(distinct), text, origin)
    return [f"{name} written in capital and in small letters: {seen}; they stay different ids"] if seen else []


def _two_forms(text: Any, name: str, origin: Origin) -> list[str]:
    """Whether ids differ by their Unicode form alone, and so look the same."""
    if pc.all(pc.string_is_ascii(text)).as_py() is not False:
        return []
    distinct = pc.unique(text).drop_null()
    distinct = pc.filter(distinct, pc.invert(pc.string_is_ascii(distinct)))
    composed = pc.utf8_normalize(distinct, form="NFC")
    if not (count := len(distinct) - len(pc.unique(composed))):
        return []
    codes = composed.dictionary_encode().indices
    seen = pc.value_counts(codes)
    twice = pc.filter(seen.field("values"), pc.greater(seen.field("counts"), 1))[0]
    pair = pc.filter(distinct, pc.equal(codes, twice)).to_pylist()[:2]
    places = [origin.place(pc.index(text, value).as_py()) for value in pair]
    return [
        f"{name} that differ by the Unicode form of a letter alone, and stay different ids: {count:,}, as "
        f"{pair[0]!a} in {places[0]} and {pair[1]!a} in {places[1]}"
    ]
