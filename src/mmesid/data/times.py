"""What a timestamp is: nanoseconds since 1970, or a number of the file's own where it is too small to be a time.

- Numbers count seconds, milliseconds, microseconds or nanoseconds since 1970, by their size; fractions are kept, those
  of floats to the microsecond.
- Where most numbers are below 500,000,000 (seconds: November 1985), they are no times since 1970 but order numbers or
  steps since a user's first; all are kept as they are, or read as seconds where any has a fraction.
- Text is ISO-8601 with up to nine decimals; `T` or a space, `Z`, ` UTC` or an offset; UTC where it names no zone. Other
  texts need `ingest.timestamp_format`: 01/02/2024 could be two days. Zones like BST, of which there are several, are
  refused; so are days like 31052024 or 310524, whose numbers are in another order.
- One column has one unit, and no rounding: a mixture is refused, years that cannot be are warned of.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmesid.data.clock_times import refuse_clock
from mmesid.data.moments import NUMBER
from mmesid.data.packed_days import may_be_days, refuse_days
from mmesid.data.tables import SINGLE, Origin, shortened, written
from mmesid.data.time_texts import from_numerals, from_texts, hint_of, is_none, refuse_rounded, zone_hint
from mmesid.errors import DataError

SECOND = 1_000_000_000  # nanoseconds
UNITS = {"seconds": SECOND, "milliseconds": 1_000_000, "microseconds": 1_000, "nanoseconds": 1}
BOUNDS = np.array([10**11, 10**14, 10**17])  # the largest numbers of seconds, milliseconds and microseconds
SMALL = 500_000_000  # below it a number is no time since 1970
EARLIEST, LATEST = 315_532_800 * SECOND, 4_102_444_800 * SECOND  # 1980, 2100: outside, a year is doubtful
COARSE = 1000  # seconds: what a spreadsheet's six digits leave
HALF_DAY = 43_200
NO_TIME = -(2**63)  # how NumPy and pandas hold a time that is none, seen as a number


class Numbers(NamedTuple):
    """Numbers with up to nine decimals, exactly: whole + billionths / 10^9."""

    whole: NDArray[np.int64]
    billionths: NDArray[np.int64]
    bad: NDArray[np.bool_]  # no number


def to_timestamps(column: Any, origin: Origin, form: str | None = None) -> tuple[NDArray[np.int64], list[str]]:
    """Canonical timestamps, and sentences on what is doubtful about them.

    Args:
        column: Arrow array of numbers, times or text.
        origin: where its rows came from.
        form: `ingest.timestamp_format`, as strptime takes it; text is read by it alone.

    Raises:
        DataError: a value is no time, units are mixed, or numbers were rounded; names a row of each kind.
    """
    if pa.types.is_temporal(column.type):
        times, bad = _from_temporal(column)
    elif form is None and pa.types.is_integer(column.type):
        return _from_numbers(_integers(column), column, origin)
    elif form is None and pa.types.is_floating(column.type):
        return _from_numbers(_floats(column), column, origin)
    else:
        text = written(column)
        if form is None and not (numbers := Numbers(*from_numerals(text))).bad.mean() > 0.5:
            refuse_rounded(text, origin)
            return _from_numbers(numbers, text, origin)
        times, bad = from_texts(text, form)
    if bad.any():
        raise DataError(_say_bad(column, bad, origin, form))
    return times, _doubtful_years(times, column, origin)


def _integers(column: Any) -> Numbers:
    values = pc.fill_null(column, 0).to_numpy()
    bad = column.is_null().to_numpy() | (values > 2**63 - 1) | (values == NO_TIME)
    return Numbers(values.astype(np.int64), np.zeros(1, np.int64), bad)  # one zero stands for all


def _floats(column: Any) -> Numbers:
    values = column.cast(pa.float64()).to_numpy().astype(np.float64)
    bad = ~(np.abs(values) < 2.0**63)
    values = np.where(bad, 0.0, values)
    whole = np.floor(values)
    exact = -np.log10(np.spacing(max(1.0, float(np.abs(values).max(initial=0)))))  # decimals that the largest has
    scale = 10.0 ** np.clip(np.floor(exact), 0, 6)
    billionths = np.rint((values - whole) * scale) * (SECOND / scale)
    return Numbers(whole.astype(np.int64), billionths.astype(np.int64), bad)


def _from_temporal(column: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Dates and times as nanoseconds, and which rows have none or one beyond the year 2262."""
    bad = column.is_null().to_numpy()
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    factor = {"s": SECOND, "ms": 10**6, "us": 1000, "ns": 1}[column.type.unit]
    counts = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    bad = bad | (np.abs(counts) > (2**63 - 1) // factor)
    return np.where(bad, 0, counts) * factor, bad


def _from_numbers(numbers: Numbers, column: Any, origin: Origin) -> tuple[NDArray[np.int64], list[str]]:
    whole, billionths, bad = numbers
    if bad.any():
        raise DataError(_say_bad(column, bad, origin, None))
    _refuse_single(whole, column, origin)
    refuse_days(whole, billionths, column, origin)
    small = np.abs(whole) < SMALL
    if small.sum() * 2 > len(whole):
        refuse_clock(whole, billionths, column, origin)
        return _kept(numbers, small, column, origin)
    unit = np.searchsorted(BOUNDS, np.abs(whole), side="right")
    unit_of_most = int(np.bincount(unit[~small], minlength=4).argmax())
    other = (unit != unit_of_most) & ~small
    if other.any():
        raise DataError(_say_mixed(unit, unit_of_most, other, column, origin))
    name = list(UNITS)[unit_of_most]
    factor = UNITS[name]
    beyond = np.abs(whole) > (2**63 - 1) // factor - 1
    if beyond.any():
        raise DataError(_say_bad(column, beyond, origin, None))
    times = whole * factor + billionths * factor // SECOND
    return times, [*_rounded(whole, factor, column, origin), *_doubtful_years(times, column, origin)]


def _refuse_single(whole: NDArray[np.int64], column: Any, origin: Origin) -> None:
    """Raises DataError where numbers are 32-bit floats too large to hold every whole number."""
    large = np.abs(whole) >= SINGLE
    if pa.types.is_float32(column.type) and large.any():
        first = int(large.argmax())
        raise DataError(
            f"{origin.place(first)}, column timestamp: {column[first].as_py():.0f} is a 32-bit float, as all others, "
            "which keeps seven digits, so that different times look alike; store them as integers, 64-bit floats or "
            "text"
        )


def _kept(
    numbers: Numbers, small: NDArray[np.bool_], column: Any, origin: Origin
) -> tuple[NDArray[np.int64], list[str]]:
    """Numbers that are no times since 1970, as they are."""
    notes = []
    if not small.all():
        large, little = int((~small).argmax()), int(small.argmax())
        notes = [
            f"timestamps below {SMALL:,} are no times since 1970; {small.sum():,} of {len(small):,} are, such as "
            f"{_shown(column, little, origin)}, so all are kept as they are, also {_shown(column, large, origin)}"
        ]
    if not numbers.billionths.any():
        return numbers.whole, notes
    beyond = np.abs(numbers.whole) > 2**33
    if beyond.any():
        raise DataError(_say_bad(column, beyond, origin, None))
    notes += may_be_days(numbers.whole, numbers.billionths, column, origin)
    return numbers.whole * SECOND + numbers.billionths, notes


def _rounded(whole: NDArray[np.int64], factor: int, column: Any, origin: Origin) -> list[str]:
    """A sentence where every time is a multiple of 1,000 seconds, but not all are whole days or half days."""
    second = SECOND // factor
    if len(whole) < 2 or (whole % (COARSE * second)).any() or not (whole % (HALF_DAY * second)).any():
        return []
    return [
        f"all timestamps are multiples of {COARSE:,} seconds, such as {_shown(column, 0, origin)}: a spreadsheet may "
        "have rounded them, and then their order is lost"
    ]


def _doubtful_years(times: NDArray[np.int64], column: Any, origin: Origin) -> list[str]:
    """A sentence where some times lie outside the years 1980 to 2099, with a row of each kind."""
    outside = (times < EARLIEST) | (times >= LATEST)
    if not outside.any():
        return []
    usual = int((~outside).argmax())
    against = "" if outside.all() else f"; others are like {_shown(column, usual, origin)}"
    return [
        f"timestamps outside the years 1980 to 2099: {outside.sum():,} of {len(times):,}, the first is "
        f"{_shown(column, int(outside.argmax()), origin)}{against}"
    ]


def _say_mixed(unit: NDArray[np.int64], most: int, other: NDArray[np.bool_], column: Any, origin: Origin) -> str:
    stray, usual = int(other.argmax()), int((unit == most).argmax())
    names = list(UNITS)
    return (
        f"column timestamp mixes units: {_shown(column, usual, origin)} counts {names[most]} since 1970, but "
        f"{_shown(column, stray, origin)} {names[int(unit[stray])]}; {other.sum():,} of {len(unit):,} rows differ from "
        "most. Bring all to one unit"
    )


def _say_bad(column: Any, bad: NDArray[np.bool_], origin: Origin, form: str | None) -> str:
    first = int(bad.argmax())
    expected = (
        f"a time like {form!r} (ingest.timestamp_format)"
        if form
        else "a number of seconds since 1970, or an ISO-8601 date such as 2024-05-31T18:00:00, before the year 2262"
    )
    here = column.slice(first, 1)
    value = (written(here) if pa.types.is_temporal(here.type) else here)[0].as_py()  # a time may be no datetime
    if form is None and pa.types.is_large_string(here.type) and (mixture := _say_two_ways(column, bad, origin)):
        return mixture
    hint = ""
    if is_none(value):
        hint = ". They have no time: leave such rows out of the file"
    elif isinstance(value, str) and value[:1] in ("[", "{"):
        hint = f". It holds {'a list' if value[0] == '[' else 'an object'}; write one row for each interaction"
    elif isinstance(value, str):
        hint = zone_hint(value) if form else hint_of(value)
    return (
        f"{origin.place(first)}, column timestamp: expected {expected}, found "
        f"{'nothing' if value is None else shortened(value)}; {bad.sum():,} of {len(bad):,} rows are like this{hint}"
    )


def _say_two_ways(column: Any, bad: NDArray[np.bool_], origin: Origin) -> str:
    """What is wrong where some rows are numbers and others dates, each a time by itself; empty where they are not."""
    if bad.all() or column[int(bad.argmax())].as_py() is None:
        return ""
    places = int((~bad).argmax()), int(bad.argmax())
    usual, stray = (NUMBER.fullmatch(column[place].as_py().strip()) is not None for place in places)
    if usual == stray or (usual and from_texts(column.slice(places[1], 1), None)[1].any()):
        return ""
    shown = [_shown(column, place, origin) for place in places]
    return (
        f"column timestamp mixes numbers and dates: {shown[0]} is a {'number' if usual else 'date'}, but {shown[1]} a "
        f"{'number' if stray else 'date'}; {bad.sum():,} of {len(bad):,} rows are not like most. Write all in one way"
    )


def _shown(column: Any, position: int, origin: Origin) -> str:
    return f"{column[position].as_py()} ({origin.place(position)})"
