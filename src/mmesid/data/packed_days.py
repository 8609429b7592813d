"""Days that are written as numbers whose order is not that of time: 31052024, 053124, 3105241530, 20243105, 05.2024,
31.05.

20240531 and 240531 are none of them: their order is right.
"""

from itertools import product
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmesid.data.moments import NEARLY_ALL
from mmesid.data.tables import Origin, written
from mmesid.errors import DataError

FIRST_YEAR, LAST_YEAR = 1980, 2099
SAMPLED = 1000  # numbers that a form must fit before all are looked at
DAYS, YEARS, CLOCKS = ("%d%m", "%m%d"), {"%Y": 10_000, "%y": 100}, {"": 1, "%H%M": 10_000, "%H%M%S": 1_000_000}
Whole = NDArray[np.int64]


def refuse_days(whole: Whole, billionths: Whole, column: Any, origin: Origin) -> None:
    """Raises DataError where nearly all numbers are days or months in an order of their own; names the form to give.

    Args:
        whole: whole parts of the numbers.
        billionths: their fractions; a single zero stands for all.
        column: as the file holds it, for the message.
        origin: where its rows came from.
    """
    if forms := _forms(whole, billionths):
        named = " or ".join(f"--timestamp-format '{form}'" for form in forms)
        width = len(forms[0]) + 2 * ("%Y" in forms[0])  # of what is written so
        short = "." not in forms[0] and pc.min(pc.utf8_length(written(column))).as_py() < width
        zero = "; before that, write day and month with two digits each, as 05312024" if short else ""
        raise DataError(
            f"{origin.place(0)}, column timestamp: {column[0].as_py()} and nearly all others look like days or months "
            "that as numbers would be in the wrong order; say how they are written, with "
            f"`mmesid add NAME {named}` (ingest.timestamp_format){zero}"
        )


def may_be_days(whole: Whole, billionths: Whole, column: Any, origin: Origin) -> list[str]:
    """A sentence where all numbers could be a day and a month, such as 31.05."""
    months, rest = np.divmod(billionths, 10_000_000)
    if (
        not (_within(whole, 1, 31) & _within(months, 1, 12) & (rest == 0)).all()
        or not np.ptp(months)
        or not np.ptp(whole)
    ):
        return []
    return [
        f"all timestamps look like a day and a month, such as {column[0].as_py()} ({origin.place(0)}), and are read as "
        "numbers with a fraction; if they are days, write them with their year, as 2024-05-31"
    ]


def _forms(whole: Whole, billionths: Whole) -> list[str]:
    """How strptime writes the days that nearly all numbers are, in each way that fits."""
    if billionths.any():
        years, rest = np.divmod(billionths, 100_000)
        fits = _within(whole, 1, 12) & _within(years, FIRST_YEAR, LAST_YEAR) & (rest == 0)
        return ["%m.%Y"] if fits.mean() >= NEARLY_ALL else []
    some = whole[:: max(1, len(whole) // SAMPLED)]
    ways = [way for way in product(DAYS, YEARS, CLOCKS) if _fits(some, *way).mean() >= NEARLY_ALL / 2]
    forms = ["".join(way) for way in ways if _fits(whole, *way).mean() >= NEARLY_ALL and _is_disordered(whole, *way)]
    return forms or [f"%Y%d%m{clock}" for clock, size in CLOCKS.items() if _has_day_before_month(whole // size)]


def _has_day_before_month(days: Whole) -> bool:
    """Whether nearly all numbers are a year with a day and a month behind, and too few with a month and a day."""
    years, rest = np.divmod(days, YEARS["%Y"])
    one, two = np.divmod(rest, 100)
    in_range = _within(years, FIRST_YEAR, LAST_YEAR)
    days_first = in_range & _within(one, 1, 31) & _within(two, 1, 12)
    months_first = in_range & _within(one, 1, 12) & _within(two, 1, 31)
    return bool(days_first.mean() >= NEARLY_ALL > months_first.mean())


def _split(whole: Whole, year: str, clock: str) -> tuple[Whole, Whole, Whole, Whole]:
    """First and second pair of digits, the year and the time of day."""
    days, times = np.divmod(whole, CLOCKS[clock])
    front, years = np.divmod(days, YEARS[year])
    return *np.divmod(front, 100), years, times


def _fits(whole: Whole, order: str, year: str, clock: str) -> NDArray[np.bool_]:
    """Which numbers are a day of this form."""
    one, two, years, times = _split(whole, year, clock)
    day, month = (one, two) if order == "%d%m" else (two, one)
    hours, rest = np.divmod(times * (1_000_000 // CLOCKS[clock]), 10_000)
    minutes, seconds = np.divmod(rest, 100)
    in_range = _within(years, FIRST_YEAR, LAST_YEAR) if year == "%Y" else years >= 0
    clocked = (hours < 24) & (minutes < 60) & (seconds < 60)
    return in_range & clocked & _within(day, 1, 31) & _within(month, 1, 12)


def _is_disordered(whole: Whole, order: str, year: str, clock: str) -> bool:
    """Whether days differ, and, where the year has two digits, they are no years with a month and a day behind.

    Those have more different days than years.
    """
    one, two, years, _ = _split(whole, year, clock)
    if year == "%Y":
        return len(whole) == 1 or bool(np.ptp(100 * one + two))
    firsts, lasts = len(np.unique(one)), len(np.unique(years))
    in_order = (_within(two, 1, 12) & _within(years, 1, 31)).mean() >= NEARLY_ALL
    return firsts > (lasts if in_order else 1)


def _within(numbers: Whole, low: int, high: int) -> NDArray[np.bool_]:
    return (numbers >= low) & (numbers <= high)
