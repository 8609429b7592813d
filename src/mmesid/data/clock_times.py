"""Times of day without their day, 1830 or 183000, which as numbers mix the days of a history."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmesid.data.moments import are_clock
from mmesid.data.tables import Origin
from mmesid.errors import DataError


def refuse_clock(whole: NDArray[np.int64], billionths: NDArray[np.int64], column: Any, origin: Origin) -> None:
    """Raises DataError where nearly all numbers are a time of day.

    Args:
        whole: whole parts of the numbers.
        billionths: their fractions; a single zero stands for all.
        column: as the file holds it, for the message.
        origin: where its rows came from.
    """
    if not billionths.any() and are_clock(whole):
        raise DataError(
            f"{origin.place(0)}, column timestamp: {column[0].as_py()} and nearly all others look like times of day, "
            "as 1830 or 183000, and as numbers without their day they would mix the days; join day and time in one "
            "column, such as 2024-05-31T18:30:00"
        )
