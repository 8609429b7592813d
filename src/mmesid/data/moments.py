"""What the values of a column look like: moments, days, times of day, numbers, by a few of them."""

import re
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmesid.data.no_values import NO_VALUE

Kind = Literal["moment", "day", "form", "clock", "number", "text", "empty"]

NEARLY_ALL = 0.99  # of a whole column
MOST = 0.8  # of a few values that must look alike
UNITS = (1, 10**3, 10**6, 10**9)  # of a second, in numbers since 1970
FIRST, LAST = 631_152_000, 2_208_988_800  # 1990, 2040
ISO_DAY = re.compile(r"\d{4}([-/])\d{1,2}\1\d{1,2}([T ]00:00(:00(\.0*)?)?Z?)?")
ISO = re.compile(r"\d{4}([-/])\d{1,2}\1\d{1,2}[Tt ]\d.*")
PACKED_DAY = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
CLOCK = re.compile(r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d([.,]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?")
FORM = re.compile(
    r"\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d\d)\b.*"
    r"|(\w{3,9},? )?(\w+ )?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b.*\d{2}.*"
    r"|\d\d \d\d, \d{4}|(19|20)\d\d(0[1-9]|1[0-2])[0-3]\d[T ]?\d{4,6}Z?|/Date\(\d+.*",
    re.IGNORECASE,
)
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


def look(values: Iterable[Any]) -> Kind:
    """What most of the values are.

    moment: a day with its time, or a count since 1970. day: a day alone. form: a date that needs a form of strptime.
    clock: a time of day without its day. empty: there are none.
    """
    texts = [text for value in values if value is not None and (text := str(value).strip()) and text not in NO_VALUE]
    if not texts:
        return "empty"
    tests: dict[Kind, Any] = {"day": is_day, "moment": is_moment, "clock": CLOCK.fullmatch, "form": FORM.fullmatch}
    for kind, test in tests.items():
        if sum(bool(test(text)) for text in texts) >= MOST * len(texts):
            return kind
    if not all(NUMBER.fullmatch(text) for text in texts):
        return "text"
    whole = [int(text) for text in texts if text.isdigit() and len(text) <= 6]
    return "clock" if len(whole) == len(texts) and are_clock(np.array(whole, np.int64)) else "number"


def is_day(text: str) -> bool:
    """Whether a text is a day, as ISO-8601 writes it or as in 20240531."""
    return bool(ISO_DAY.fullmatch(text) or PACKED_DAY.fullmatch(text))


def is_moment(text: str) -> bool:
    """Whether a text is a day with its time, or seconds, or a thousandth and so on of one, between 1990 and 2040."""
    if ISO.fullmatch(text):
        return True
    if not NUMBER.fullmatch(text) or text[0] == "0":
        return False
    return any(FIRST * unit <= float(text) <= LAST * unit for unit in UNITS)


def are_clock(numbers: NDArray[np.int64]) -> bool:
    """Whether nearly all numbers are a time of day as hhmm or hhmmss, of several hours.

    Minutes or seconds beyond 31 tell them from days such as 1231; hours in most of them from small counts.
    """
    if len(numbers) < 3:
        return False
    hours, minutes = np.divmod(numbers, 100)
    seconds: NDArray[np.int64] = np.zeros_like(numbers)
    if np.quantile(numbers, NEARLY_ALL) > 2359:
        hours, minutes, seconds = numbers // 10_000, hours % 100, minutes
    valid = (numbers >= 0) & (hours < 24) & (minutes < 60) & (seconds < 60)
    return bool(
        valid.mean() >= NEARLY_ALL
        and ((minutes > 31) | (seconds > 31))[valid].any()
        and (hours > 0).mean() > 0.5
        and len(np.unique(hours[valid])) > 2
    )
