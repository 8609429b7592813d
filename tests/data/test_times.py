"""Timestamps: every way to write a moment gives the same nanoseconds; mixtures and roundings are named."""

import datetime
from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from mmesid.data.tables import Origin
from mmesid.data.times import to_timestamps
from mmesid.errors import DataError

MOMENT = 1_600_000_000_123_456_789  # 2020-09-13 12:26:40.123456789 UTC
SECONDS = MOMENT // 10**9
FORMS = (("%d%m", "%m%d"), ("%Y", "%y"), ("", "%H%M", "%H%M%S"))  # of days whose numbers are in another order
DAYS = [
    datetime.datetime(2023, 5, 31, tzinfo=datetime.UTC) + n * datetime.timedelta(days=10, seconds=26_011)
    for n in range(60)
]


def read(column: pa.Array, form: str | None = None) -> tuple[list[int], list[str]]:
    times, notes = to_timestamps(pa.chunked_array([column]), Origin(["x.csv"], [len(column)]), form)
    assert times.dtype == np.int64
    return times.tolist(), notes


@pytest.mark.parametrize(
    ("column", "digits"),
    [
        (pa.array([SECONDS]), 0),
        (pa.array([MOMENT // 10**6]), 3),
        (pa.array([MOMENT // 10**3]), 6),
        (pa.array([MOMENT]), 9),
        (pa.array([MOMENT], pa.uint64()), 9),
        (pa.array([1_600_000_000.123456]), 6),
        (pa.array([1_600_000_000_123.456]), 6),
        (pa.array(["1600000000.123456789"]), 9),
        (pa.array(["1.600000000123456789e+09"]), 9),
        (pa.array(["2020-09-13 12:26:40.123456789"]), 9),
        (pa.array(["2020-09-13T12:26:40.1234567Z"]), 7),
        (pa.array(["2020-09-13 12:26:40.123 UTC"]), 3),
        (pa.array(["2020-09-13T17:56:40.123456789+05:30"]), 9),
        (pa.array(["2020-09-13 14:26:40 +0200"]), 0),
        (pa.array(["2020-09-13T12:26:40,123"]), 3),
        (pa.array(["2020-09-13T12:26:40,123456789Z"]), 9),
        (pa.array(["2020-09-13t12:26:40z"]), 0),
        (pa.array(["2020-09-13 12:26:40.123 Z"]), 3),
        (pa.array(["2020-09-13 12:26:40 gmt"]), 0),
        (pa.array(["2020-09-13 12:26:40.123456789 +0000 UTC"]), 9),
        (pa.array(["2020-09-13 14:26:40 +0200 CEST"]), 0),
        (pa.array(["2020-09-13 14:26:40 Europe/Berlin"]), 0),
        (pa.array([MOMENT], pa.timestamp("ns")), 9),
        (pa.array([MOMENT // 10**6], pa.timestamp("ms", tz="Europe/Berlin")), 3),
    ],
)
def test_a_moment_keeps_its_digits(column: pa.Array, digits: int) -> None:
    unit = 10 ** (9 - digits)
    assert read(column) == ([MOMENT // unit * unit], [])


@pytest.mark.parametrize(
    ("column", "times"),
    [
        (pa.array([5, 7]), [5, 7]),
        (pa.array([-3, 2]), [-3, 2]),
        (pa.array([0, 0, 9_244_800, 381_456_000]), [0, 0, 9_244_800, 381_456_000]),  # seconds since a user's first
        (pa.array([5.5, 7.0]), [5_500_000_000, 7_000_000_000]),
        (pa.array(["5", "7"]), [5, 7]),
    ],
)
def test_small_numbers_stay_as_they_are(column: pa.Array, times: list[int]) -> None:
    assert read(column) == (times, [])


def test_dates_are_midnights() -> None:
    midnight = 1_599_955_200 * 10**9
    assert read(pa.array([datetime.date(2020, 9, 13)])) == ([midnight], [])
    assert read(pa.array(["2020-09-13", "2020-09-14"])) == ([midnight, midnight + 86_400 * 10**9], [])


def test_a_form_that_is_named_is_used() -> None:
    assert read(pa.array(["9/13/2020 2:26:40 PM"]), "%m/%d/%Y %I:%M:%S %p")[0] == [1_600_007_200 * 10**9]
    assert read(pa.array([20200913]), "%Y%m%d")[0] == [1_599_955_200 * 10**9]
    with pytest.raises(DataError, match=r"row 1.*expected a time like '%Y' \(ingest\.timestamp_format\), found '1/2'"):
        read(pa.array(["1/2"]), "%Y")
    with pytest.raises(DataError, match=r"ingest\.timestamp_format: '%Q' is no form"):
        read(pa.array(["1/2"]), "%Q")


@pytest.mark.parametrize("zone", ["BST", "IST", "CST", "AST"])
def test_zones_that_stand_for_several_are_refused_in_a_form_too(zone: str) -> None:
    form = "%d.%m.%Y %H:%M %Z"
    for sure in ("UTC", "GMT", "Europe/London"):
        read(pa.array([f"27.10.2024 12:30 {sure}"]), form)
    with pytest.raises(
        DataError, match=f"row 2.*found '27.10.2024 01:30 {zone}'; 1 of 2.*{zone!r} is no zone for sure"
    ):
        read(pa.array(["27.10.2024 01:30 UTC", f"27.10.2024 01:30 {zone}"]), form)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array(["1", "yesterday", "3", "soon"]), r"row 2, column timestamp.*found 'yesterday'; 2 of 4"),
        (pa.array(["2024-01-01", "01/02/2024", "2024-01-03"]), r"row 2.*found '01/02/2024'; 1 of 3.*timestamp_format"),
        (pa.array(["13/09/2020", "14/09/2020"]), r"row 1.*ingest\.timestamp_format"),
        (pa.array(["1", None, "3"]), r"row 2.*1 of 3"),
        (pa.array([1.0, float("nan")]), r"row 2.*1 of 2"),
        (pa.array([1.0, float("inf")]), r"row 2.*found 'inf'"),
        (pa.array(["1", "1e300", "2"]), r"row 2.*found '1e300'"),
        (pa.array([1, 2**63], pa.uint64()), r"row 2"),
        (pa.array([SECONDS, None], pa.timestamp("s")), r"row 2.*found nothing"),
        (pa.array(["2020-09-13", "5138-11-16"]), r"row 2.*before the year 2262, found '5138-11-16'"),
        (pa.array([SECONDS, 99_999_999_999]), r"row 2.*before the year 2262"),
        (
            pa.array([SECONDS, SECONDS * 1000, SECONDS]),
            r"1600000000 \(x.csv, row 1\) counts seconds.*row 2\) milliseconds",
        ),
        (pa.array([str(SECONDS * 1000), str(SECONDS)]), r"mixes units: .*row 1.*row 2|mixes units: .*row 2.*row 1"),
        (
            pa.array(["1.6E+09", "1.60866E+09"]),
            r"row 1.*'1\.6E\+09' is a number that a spreadsheet has rounded; 2 of 2",
        ),
        (
            pa.array(["1600000000", "1.60866E+09", "1600000001", "1600000002"]),
            r"row 2.*'1\.60866E\+09' is a number that a spreadsheet has rounded; 1 of 4",
        ),
        (pa.array(["1600000000", "1,60866E+09"]), r"row 2.*found '1,60866E\+09'.*A spreadsheet has rounded it"),
        (pa.array([1.6e9, 1.7e9], pa.float32()), r"row 1.*32-bit float"),
        (pa.array([5.0, 20201225.0, 20201226.0], pa.float32()), r"row 2, column timestamp: 20201224 is a 32-bit float"),
        (pa.array([SECONDS, -(2**63)]), r"row 2.*found '-9223372036854775808'; 1 of 2"),
        (pa.array([SECONDS, 2**62], pa.timestamp("us")), r"row 2.*before the year 2262, found '.*'; 1 of 2"),
        *(
            (pa.array(["2020-09-13 12:26:40", f"2020-09-13 12:26:40 {zone}"]), rf"row 2.*'{zone}' is no zone for sure")
            for zone in ("BST", "IST", "EST", "CEST", "MSK")
        ),
        (pa.array(["2020-09-13 02:26:40 PM"]), r"row 1.*timestamp_format"),
        (pa.array([31052024, 1062024]), r"row 1, column timestamp: 31052024 and nearly all .*'%d%m%Y'.*two digits"),
        (
            pa.array(["05312024", "01022023"]),
            r"row 1.*: 05312024 .*'%m%d%Y'` \(ingest\.timestamp_format\)$",
        ),
        (pa.array([1022024, 3042024]), r"'%d%m%Y' or --timestamp-format '%m%d%Y'"),
        (pa.array(["05.2024", "11.2020"]), r"row 1.*'%m\.%Y'"),
        *(
            (pa.array([f"{day:{form}}" for day in DAYS]), rf"row 1, column timestamp: .*add NAME .*'{form}'.*format\)$")
            for form in (f"{day}{year}{clock}" for day, year, clock in product(*FORMS))
        ),
        (
            pa.array([int(f"{day:%d%m%y}") for day in DAYS]),
            r"310523 and.* look like .*'%d%m%y'.*write day .*two digits",
        ),
        (pa.array([int(f"{day:%Y%d%m}") for day in DAYS]), r"look like .*'%Y%d%m'` \(ingest\.timestamp_format\)$"),
    ],
)
def test_what_is_no_time_is_refused_with_its_row(column: pa.Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(column)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            ["1600000000", "2020-09-13", "1600000001"],
            r"mixes numbers and dates: 1600000000 \(x.csv, row 1\) is a number, but 2020-09-13 \(x.csv, row 2\) a "
            "date; 1 of 3 rows are not like most. Write all in one way",
        ),
        (
            ["1600000000", "2020-09-13T12:26:40Z", "2020-09-14"],
            r"2020-09-13T12:26:40Z \(x.csv, row 2\) is a date, but 1600000000 \(x.csv, row 1\) a number; 1 of 3",
        ),
        (["1600000000", "event_time", "1600000001"], "row 2, .*found 'event_time'; 1 of 3 .*names of the columns seem"),
        (["2020-09-13", "Timestamp", "2020-09-14"], "row 2, .*found 'Timestamp'; 1 of 3 .*names of the columns seem"),
        (["1600000000", "soon", "1600000001"], "row 2, .*found 'soon'; 1 of 3 .*--timestamp-format"),
        (["1600000000", "9" * 30, "1600000001"], "row 2, .*found '9{30}'; 1 of 3 .*--timestamp-format"),
        (["2020-09-13", None, "1600000000"], "row 2, .*found nothing; 2 of 3 .*have no time"),
    ],
)
def test_rows_that_are_not_like_most_are_told_from_times_of_another_form(column: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(pa.array(column, pa.large_string()))


@pytest.mark.parametrize(
    ("column", "note"),
    [
        (pa.array([SECONDS, 0, SECONDS + 5]), r"outside the years 1980 to 2099: 1 of 3, the first is 0 (x.csv, row 2)"),
        (
            pa.array(["2020-09-13", "1970-01-01"]),
            "1970-01-01 (x.csv, row 2); others are like 2020-09-13 (x.csv, row 1)",
        ),
        (pa.array([1_600_100_000, 1_608_660_000]), "multiples of 1,000 seconds"),
        (
            pa.array(["31.05", "1.06", "15.12"]),
            "look like a day and a month, such as 31.05 (x.csv, row 1)",
        ),
        (pa.array([0, 1, 2, SECONDS]), "so all are kept as they are, also 1600000000 (x.csv, row 4)"),
    ],
)
def test_what_is_doubtful_is_said(column: pa.Array, note: str) -> None:
    assert note in read(column)[1][0]


def test_numbers_that_only_resemble_days_stay() -> None:
    for column in ([20240531, 20231201], [1012000, 1012001, 1012002], [31052024, 17, 18], [99052024, 98062024]):
        assert read(pa.array(column)) == (column, [])
    for form in ("%y%m%d", "%y%m%d%H%M", "%Y%m%d", "%Y%m"):
        assert len(read(pa.array([f"{day:{form}}" for day in DAYS]))[0]) == len(DAYS)
    for numbers in (range(10_000, 320_000, 7), range(10_100, 11_300), range(SECONDS, SECONDS + 10**8, 997)):
        assert len(read(pa.array(numbers))[0]) == len(numbers)
    assert read(pa.array(["1.6E9", *map(str, range(SECONDS, SECONDS + 5))]))[1] == []
    assert read(pa.array(["1.6e+09", *map(str, range(SECONDS, SECONDS + 5))]))[1] == []
    for column in ([1.13, 2.5, 31.0], [3.01, 3.02], ["0.05", "1.06"]):
        assert read(pa.array(column))[1] == []


def test_whole_days_are_not_taken_for_rounded() -> None:
    assert read(pa.array([86_400 * day for day in (18_000, 18_025)]))[1] == []
