"""Timestamps that are text: numerals with their decimals, ISO-8601 dates, and any form that is named."""

import re
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from mmesid.data import engine, names
from mmesid.data.moments import CLOCK
from mmesid.data.no_values import NO_VALUE
from mmesid.data.tables import Origin
from mmesid.errors import DataError, first_line

Times = tuple[NDArray[np.int64], NDArray[np.bool_]]  # nanoseconds since 1970, and which rows have none
REPRESENTABLE = 9_223_372_000_000_000  # microseconds: the year 2262
SCIENTIFIC = r"^[+-]?\d(?:\.(\d+))?[eE]\+?(\d+)$"  # 1.6E+09
OF_EXCEL = r"\d(\.\d{1,5})?E\+\d\d"  # six digits, as a spreadsheet writes long numbers
OF_EXCEL_ABROAD = re.compile(r"\d,\d+E\+\d\d")
ZONE = r"\d ?([A-Za-z]{2,4})$"  # CEST, BST
UNIVERSAL = ("UTC", "GMT", "UCT", "UT", "ZULU")
SURE_ZONE = rf"(?i)\b({'|'.join(UNIVERSAL)})\b|[0-9 ]Z$|[a-z]/[a-z]"  # one that stands for itself, or Europe/Berlin
HALVES = ("AM", "PM")
MENDS = (  # ways to write a moment that DuckDB lacks -> those that it has
    (r"(\d),(\d)", r"\1.\2"),
    (r"t(\d)", r"T\1"),
    (r" ?[zZ]$", "Z"),
    (r"([+-]\d\d:?\d\d) ?[A-Za-z]{2,5}$", r"\1"),  # an offset says more than the zone's name behind it
)


def from_numerals(text: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Whole part, billionths, and which rows are no number."""
    answer = engine.ask(
        text,
        "SELECT coalesce(floor(number), 0)::BIGINT AS whole, "
        "coalesce((number - floor(number)) * 1000000000, 0)::BIGINT AS billionths, number IS NULL AS bad "
        "FROM (SELECT CASE WHEN abs(number) < 9223372036854775807 THEN number END AS number "
        "FROM (SELECT try_cast(value AS DECIMAL(38, 9)) AS number FROM asked))",
    )
    return answer["whole"].to_numpy(), answer["billionths"].to_numpy(), answer["bad"].to_numpy()


def from_texts(text: Any, form: str | None) -> Times:
    """Dates, ISO-8601 or in the form that is named; UTC where they name no zone.

    Raises:
        DataError: the form is none that strptime knows.
    """
    if form is None:
        iso = "replace(replace(trim(value), ' +', '+'), ' -', '-')"
        mended = iso
        for pattern, by in MENDS:
            mended = f"regexp_replace({mended}, '{pattern}', '{by}')"
        parsed = (
            "CASE WHEN substr(trim(value), 5, 1) NOT IN ('-', '/') THEN NULL "
            "WHEN right(trim(value), 1) > '9' AND right(trim(value), 1) <> 'Z' AND right(trim(value), 3) <> 'UTC' "
            f"AND upper(regexp_extract({mended}, '{ZONE}', 1)) NOT IN ('', "
            f"{', '.join(map(engine.literal, UNIVERSAL))}) THEN NULL "
            f"ELSE coalesce(try_cast({iso} AS TIMESTAMPTZ), try_cast({mended} AS TIMESTAMPTZ)) END"
        )
        digits = r"rpad(regexp_extract(value, '[.,]\d{6}(\d{1,3})', 1), 3, '0')"  # DuckDB stops at the sixth
        finer = f"CASE WHEN length(value) > 26 THEN try_cast({digits} AS BIGINT) END"
    else:
        parsed, finer = f"try_strptime(trim(value), {engine.literal(form)})", "0"
        if "%Z" in form:
            parsed = f"CASE WHEN regexp_matches(value, '{SURE_ZONE}') THEN {parsed} END"
    question = (
        f"SELECT epoch_us(time) * 1000 + finer AS times FROM (SELECT CASE WHEN abs(epoch_us(time)) < {REPRESENTABLE} "
        f"THEN time END AS time, coalesce({finer}, 0) AS finer FROM (SELECT {parsed} AS time, value FROM asked))"
    )
    try:
        times = engine.ask(text, question)["times"]
    except duckdb.InvalidInputException as error:
        raise DataError(f"ingest.timestamp_format: {form!r} is no form of strptime ({first_line(error)})") from None
    return times.fill_null(0).to_numpy(), times.is_null().to_numpy()


def is_none(value: object) -> bool:
    """Whether a value says that there is no time, as a null, a blank, R's NA or MySQL's year zero."""
    return value is None or str(value).strip() in {"", *NO_VALUE} or str(value).strip().startswith("0000-00-00")


def hint_of(value: str) -> str:
    """What to change where a text is no time, as the end of a message."""
    if CLOCK.fullmatch(value.strip()):
        return ". It is a time of day without its day: join day and time in one column, such as 2024-05-31T18:00:00"
    if not any(map(str.isdigit, value)) and names.moment_rank(value) is not None:
        return (
            ". The names of the columns seem to stand here as a row, as where files with headers are put together: "
            "leave such rows out of the file"
        )
    if re.fullmatch(r"\d+,\d+", value.strip()):
        return ". It is a number with a decimal comma: write a point, as in 43916.09, or export the column as dates"
    if OF_EXCEL_ABROAD.fullmatch(value.strip()):
        return ". A spreadsheet has rounded it; export the column as text"
    return zone_hint(value) or (
        ". For another way to write times name it with the key ingest.timestamp_format, such as '%d/%m/%Y %H:%M' "
        "(`mmesid add NAME --timestamp-format`)"
    )


def zone_hint(value: str) -> str:
    """What to change where letters behind a time may be one of several zones, as the end of a message."""
    zone = re.search(ZONE, value.strip())
    if not zone or zone[1].upper() in (*UNIVERSAL, *HALVES):
        return ""
    return (
        f". {zone[1]!r} is no zone for sure, as letters like BST and IST stand for several; write the offset, such "
        "as +01:00, or times in UTC"
    )


def refuse_rounded(text: Any, origin: Origin) -> None:
    """Raises DataError where numerals are like 1.6E+09, with fewer digits than the number has.

    One is enough where it is written as spreadsheets do; else they must be most, as 1.6E9 may be a whole number.
    """
    answer = engine.ask(
        text,
        "WITH numbered AS (SELECT value, row_number() OVER () - 1 AS position FROM asked "
        "QUALIFY contains(upper(value), 'E')) SELECT count(*) AS rows, min(position) AS first, "
        f"count(*) FILTER (WHERE regexp_full_match(value, '{OF_EXCEL}')) AS of_excel FROM numbered WHERE "
        f" length(regexp_extract(value, '{SCIENTIFIC}', 1)) "
        f"< try_cast(regexp_extract(value, '{SCIENTIFIC}', 2) AS BIGINT)",
    ).to_pylist()[0]
    if answer["of_excel"] or answer["rows"] * 2 > len(text):
        first = answer["first"]
        raise DataError(
            f"{origin.place(first)}, column timestamp: {text[first].as_py()!r} is a number that a spreadsheet has "
            f"rounded; {answer['rows']:,} of {len(text):,} rows are like this, and their order is lost. Export the "
            "column as text"
        )
