"""Which columns of an items table are text, and their values as a person would read them aloud.

By rule a column is text unless nearly all of its values are something else: a number, a date, a code, a link. What the
rule leaves out is said, and `ingest.text` takes it in.
"""

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmesid.data.nested import flatten, parsed
from mmesid.data.no_values import NO_VALUE
from mmesid.data.picture_names import SUFFIX
from mmesid.data.tables import Origin
from mmesid.errors import DataError

TITLES = ("title", "name", "itemname", "itemtitle", "producttitle", "productname", "prodname", "movietitle", "titel")
SAMPLED = 1000  # values of a column that the rule looks at
NEARLY_ALL = 0.9
SELDOM = 0.01  # share of a column's texts up to which a word like `None` may be a title or a brand

MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
DAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
OF_DATES = "|".join(f"{name[:3]}(?:{name[3:]})?" for name in f"{MONTHS}|{DAYS}".split("|"))
DATE_WORD = re.compile(rf"\b(?:{OF_DATES}|sept|[ap]m|utc|gmt|st|nd|rd|th)\b|(?<=\d)(?:t|z|st|nd|rd|th)(?![a-z])", re.I)
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d:\d\d|\d, \d{4}\b")
CURRENCY = re.compile(r"\b(?:usd|eur|gbp|chf|jpy|inr|rs|cad|aud|brl|rub|cny|rmb|kr)\b", re.I)
FLOAT = re.compile(r"[-+]?[\d.]+e[-+]?\d+", re.I)
LETTER = re.compile(r"[^\W\d_]")
BOOLEANS = {"true", "false", "yes", "no", "t", "f", "y", "n"}
LINK = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//\S+|www\.\S+|data:\S+", re.I)
CODE = re.compile(r"(?=\S*\d)\S+(?:, (?=\S*\d)\S+)*")  # words with a digit each
ONE_WORD = re.compile(r"\S+")
ROW_NUMBERS = re.compile(r"|unnamed: ?\d+|index|row|__index_level_\d+__", re.I)
ID_NAME = re.compile(r"(?:^|[^a-z])(?:ids?|asin|uuid|guid|isbn|sku|ean|upc|gtin|barcode)$|[a-z]I[dD]s?$")

TAG_NAMES = (
    "a|abbr|article|aside|b|big|blockquote|body|br|center|code|dd|div|dl|dt|em|font|footer|h[1-6]|head|header|hr|html|i|"
    "iframe|img|input|li|link|main|mark|meta|nav|ol|p|pre|q|s|section|small|span|strike|strong|sub|sup|table|tbody|td|"
    "tfoot|th|thead|tr|tt|u|ul|video"
)
INLINE = re.compile(r"</?(?:a|abbr|b|big|code|em|font|i|mark|q|s|small|span|strike|strong|sub|sup|tt|u)\b[^<>]*>", re.I)
TAG = re.compile(rf"<(script|style)\b.*?</\1\s*>|<!--.*?-->|</?(?:{TAG_NAMES})\b[^<>]*>", re.I | re.S)
ENTITY = re.compile(r"&(?:#\d+|#x[\da-f]+|[a-z][a-z\d]*);", re.I)  # a text without one or a tag may say Cut&copy
BAR = re.compile(r"(?<=\S)\|(?=\S)")
_WESTERN = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0x100)}
_NEXT = f"[\x80-\xbf{''.join(_WESTERN[byte] for byte in range(0x80, 0xC0))}]"  # of a byte inside of a character
_BYTES = {ord(character): byte for byte, character in _WESTERN.items()}
TWICE = re.compile(f"[ÂÃ]{_NEXT}|(?:[\xc2-\xdf]{_NEXT}){{2}}|[\xe0-\xef]{_NEXT}{{2}}|ð{_NEXT}{{3}}")  # é as Ã©


class Choice(NamedTuple):
    """The text columns in order, and why each other column is none."""

    columns: list[str]
    left_out: dict[str, str]  # column -> reason


def choose(table: pd.DataFrame, asked: Sequence[str] | None, passed_over: Iterable[str] = ()) -> Choice:
    """The columns that hold an item's text.

    Args:
        table: as its file holds it.
        asked: the columns to take, in their order; None leaves it to the rule, which puts a title first.
        passed_over: columns that have another use, like `item_id`.

    Raises:
        DataError: a column that is asked for does not exist.
    """
    others = [column for column in table.columns if column not in set(passed_over)]
    if asked is not None:
        if missing := [column for column in asked if column not in table.columns]:
            present = ", ".join(table.columns)
            raise DataError(f"ingest.text names {', '.join(missing)}; the items table has: {present}")
        return Choice(list(asked), {column: "not in ingest.text" for column in others if column not in asked})
    reasons = {column: reason for column in others if (reason := _reason(column, table[column]))}
    columns = [column for column in others if column not in reasons]
    title = next((name for title in TITLES for name in columns if _plain(name) == title), None)
    return Choice(sorted(columns, key=lambda column: column != title), reasons)


def readable(name: str, column: "pd.Series[Any]") -> "pd.Series[str]":
    """Every value of a column cleaned; null where nothing remains. Bars in a title are no list."""
    values = [*map(one_line if _plain(name) in TITLES else clean, column)]
    return pd.Series(values, index=column.index, dtype="str")


def clean(value: object) -> str | None:
    """A value as one line of words, with what bars separate joined by commas."""
    text = one_line(value)
    return BAR.sub(", ", text) if text and "|" in text else text


def one_line(value: object) -> str | None:
    """A value as one line of words: lists joined, HTML unescaped and stripped, white space collapsed."""
    text = flatten(value)
    if "&" in text or "<" in text:
        text = html.unescape(text) if ENTITY.search(text) or TAG.search(text) else text
        text = TAG.sub(" ", INLINE.sub("", text))
    return " ".join(text.split()) or None


def words_for_none(name: str, column: "pd.Series[str]", origin: Origin) -> str | None:
    """A sentence where more of a column's texts are words for no value than names that look like one would be.

    Args:
        name: of the column.
        column: as `readable` gives it.
        origin: where its rows came from.
    """
    is_word = column.isin(NO_VALUE)
    count = int(is_word.sum())
    if count < 2 or count <= SELDOM * column.notna().sum():
        return None
    first = int(is_word.to_numpy().argmax())
    return (
        f"column {name} with a word for no value, which is read as text: {count:,}, the first is "
        f"{column.iloc[first]!r} in {origin.place(first)}; leave such cells empty where nothing is meant"
    )


def encoded_twice(name: str, column: "pd.Series[str]", origin: Origin) -> str | None:
    """A sentence where texts look like UTF-8 that was read as a Western encoding and saved anew: `cafÃ©` for `café`.

    Args:
        name: of the column.
        column: as `readable` gives it.
        origin: where its rows came from.
    """
    found = np.fromiter((_is_twice(text) for text in column), bool, len(column))
    count = int(found.sum())
    if count < 2 or count <= SELDOM * column.notna().sum():
        return None
    first = int(found.argmax())
    text = column.iloc[first]
    meant = text.translate(_BYTES).encode("latin-1", "replace").decode("utf-8", "replace")
    return (
        f"column {name} with texts that look as if they were encoded twice: {count:,}, the first is {text[:60]!r} in "
        f"{origin.place(first)}, perhaps for {meant[:60]!r}; they are read as they are, mend the source"
    )


def _is_twice(text: object) -> bool:
    return isinstance(text, str) and not text.isascii() and TWICE.search(text) is not None


def _is_nested(value: object) -> bool:
    """Whether a dictionary lies anywhere in it."""
    if isinstance(value, str):
        text = value.strip()
        return text[:1] + text[-1:] in ("[]", "{}") and _is_nested(parsed(text))
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return any(_is_nested(part) for part in value)
    return isinstance(value, Mapping)


def _is_number(text: str) -> bool:
    return bool(FLOAT.fullmatch(text)) or (any(map(str.isdigit, text)) and not LETTER.search(CURRENCY.sub("", text)))


def _is_date(text: str) -> bool:
    """Digits, with names of months and the like or in the shape of a date, and no other word."""
    rest = DATE_WORD.sub("", text)
    shaped = rest != text or DATE.search(text)
    return bool(shaped) and any(map(str.isdigit, rest)) and not LETTER.search(rest)


VALUES: dict[str, Callable[[str], object]] = {
    "links": lambda text: all(LINK.fullmatch(part) for part in text.split(", ")),
    "file names": lambda text: all(SUFFIX.search(part) for part in text.split(", ")),
    "yes or no": lambda text: text.casefold() in BOOLEANS,
    "dates": _is_date,
    "numbers": _is_number,
}


def _reason(name: str, column: "pd.Series[Any]") -> str | None:
    """Why the rule takes a column for no text, None where it is text."""
    written = [(value, text) for value in _sample(column) if (text := flatten(value).strip())]
    if not written:
        return "empty"
    values, texts = zip(*written, strict=True)
    if _nearly_all(map(_is_nested, values)):
        return "nested"
    if _plain(name) in TITLES:
        return None
    for reason, test in VALUES.items():
        if _nearly_all(map(test, texts)):
            return "row numbers" if reason == "numbers" and ROW_NUMBERS.fullmatch(name) else reason
    distinct = len(set(texts)) >= NEARLY_ALL * len(texts) and len(texts) > 1
    if distinct and _nearly_all(map(CODE.fullmatch, texts)):
        return "ids"
    return "ids" if ID_NAME.search(name) and _nearly_all(map(ONE_WORD.fullmatch, texts)) else None


def _sample(column: "pd.Series[Any]") -> list[Any]:
    """Values that are not null, spread over the whole column."""
    known = column.dropna()
    places = np.unique(np.linspace(0, len(known) - 1, min(SAMPLED, len(known))).astype(int))
    return known.iloc[places].tolist() if len(known) else []


def _nearly_all(facts: Iterable[object]) -> bool:
    known = [bool(fact) for fact in facts]
    return sum(known) >= NEARLY_ALL * len(known)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.casefold())
