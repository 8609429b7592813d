"""Days that are written as numbers whose order is not that of time: 31052024, 05312024, 05.2024, 31.05.

20240531 is none of them: its order is right.
"""

from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmesid.data.tables import Origin, written
from mmesid.errors import DataError

NEARLY_ALL = 0.99
FIRST_YEAR, LAST_YEAR = 1980, 2099
Whole = NDArray[np.int64]


def refuse_days(whole: Whole, billionths: Whole, column: Any, origin: Origin) -> None:
    """Raises DataError where nearly all numbers are days or months with their year behind; names the form to give.

    Args:
        whole: whole parts of the numbers.
        billionths: their fractions; a single zero stands for all.
        column: as the file holds it, for the message.
        origin: where its rows came from.
    """
    if forms := _forms(whole, billionths):
        named = " or ".join(f"--timestamp-format '{form}'" for form in forms)
        short = "." not in forms[0] and pc.min(pc.utf8_length(written(column))).as_py() < 8
        zero = "; before that, write day and month with two digits each, as 05312024" if short else ""
        raise DataError(
            f"{origin.place(0)}, column timestamp: {column[0].as_py()} and nearly all others look like days or months "
            "with their year behind, and as numbers they would be in the wrong order; say how they are written, with "
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
    front, years = np.divmod(whole, 10_000)
    one, two = np.divmod(front, 100)
    dated = _within(years, FIRST_YEAR, LAST_YEAR) & (len(whole) == 1 or np.ptp(front) > 0)
    ways = {
        "%d%m%Y": _within(one, 1, 31) & _within(two, 1, 12),
        "%m%d%Y": _within(one, 1, 12) & _within(two, 1, 31),
    }
    return [form for form, fits in ways.items() if (dated & fits).mean() >= NEARLY_ALL]


def _within(numbers: Whole, low: int, high: int) -> NDArray[np.bool_]:
    return (numbers >= low) & (numbers <= high)
