"""Reading tables: CSV, Parquet and JSON lines into text and seconds, with errors that name file, row and column."""

import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmesid.errors import DataError

WRONG_SEPARATORS = {";": "semicolon", "\t": "tab", "|": "bar"}
LATEST = 2**63 - 1024  # seconds, the last float below the end of int64


def find_table(folder: Path, name: str, endings: Iterable[str]) -> Path:
    """The one file `name.<ending>` of the folder.

    Raises:
        DataError: there is none, or more than one.
    """
    wanted = [folder / f"{name}.{ending}" for ending in endings]
    found = [path for path in wanted if path.is_file()]
    if len(found) == 1:
        return found[0]
    expected = " or ".join(path.name for path in wanted)
    if not found:
        present = ", ".join(sorted(path.name for path in folder.iterdir())[:20]) or "nothing"
        raise DataError(f"{folder} has no {expected}; it holds: {present}")
    both = " and ".join(path.name for path in found)
    raise DataError(f"{folder} has {both}; keep the one that is meant ({expected})")


def read_table(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """Read a table that must have `columns`; values are as the file holds them, CSV values are text or null.

    Raises:
        DataError: the file cannot be read, has no rows, or lacks a column.
    """
    try:
        frame = READERS[path.suffix](path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} must be UTF-8 text: {error.reason} at byte {error.start}; save it as UTF-8") from None
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from None
    frame.columns = [str(column) for column in frame.columns]
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DataError(_missing_columns(path, missing, list(frame.columns)))
    if frame.empty:
        raise DataError(f"{path} is empty: it has columns but no rows")
    return frame


def as_text(column: "pd.Series[Any]") -> "pd.Series[str]":
    """The column as text: blank text becomes null, numbers and lists are written out, the rest is unchanged."""
    if pd.api.types.is_float_dtype(column) and np.isfinite(column.dropna()).all() and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")  # whole numbers that a null has made floats
    if not isinstance(column.dtype, pd.StringDtype) and not pd.api.types.is_integer_dtype(column):
        column = column.astype(object).map(_write_out)
    text = column.astype("str")
    return text.where(text.str.strip() != "")


def as_seconds(column: "pd.Series[Any]", path: Path) -> NDArray[np.int64]:
    """Timestamps as whole seconds (or whatever unit the file's numbers have).

    Numbers are taken as they are, without their fraction. Dates and ISO-8601 text become seconds since 1970, UTC where
    they name no zone.

    Args:
        column: the file's column.
        path: the file, for the error.

    Raises:
        DataError: a value is missing or neither a number nor a date; names the first such row.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        seconds, bad = _from_dates(column)
    elif pd.api.types.is_numeric_dtype(column):
        seconds, bad = _from_numbers(column)
    else:
        text = as_text(column)
        candidates = [_from_numbers(pd.to_numeric(text, errors="coerce")), _from_dates(_parse_dates(text))]
        seconds, bad = min(candidates, key=lambda candidate: candidate[1].sum())
    if bad.any():
        first = int(bad.argmax())
        raise DataError(
            f"{path}, row {first + 1}, column timestamp: expected a number of seconds or an ISO-8601 date such as "
            f"2024-05-31T18:00:00, found {str(column.iloc[first])!r}; {bad.sum():,} of {len(bad):,} rows are like this"
        )
    return seconds


def _read_csv(path: Path) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(
                path, dtype="str", keep_default_na=False, na_values=[""], encoding="utf-8-sig", index_col=False
            )
        except pd.errors.EmptyDataError:
            raise DataError(f"{path} is empty: it has neither a header nor rows") from None


def _read_parquet(path: Path) -> pd.DataFrame:
    if not path.stat().st_size:
        raise DataError(f"{path} is empty: it has no bytes")
    return pd.read_parquet(path)


def _read_json_lines(path: Path) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: expected one JSON object, {error}") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected one JSON object, found {type(row).__name__}")
        rows.append(row)
    if not rows:
        raise DataError(f"{path} is empty: it has no rows")
    return pd.DataFrame.from_records(rows).astype(object)


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".jsonl": _read_json_lines,
}


def _missing_columns(path: Path, missing: list[str], present: list[str]) -> str:
    message = f"{path} lacks the column {', '.join(missing)}; it has: {', '.join(present)}"
    if len(present) == 1:
        for separator, name in WRONG_SEPARATORS.items():
            if separator in present[0]:
                return f"{message}. The separator looks wrong: a CSV needs commas, this one seems to use the {name}"
    return message


def _write_out(value: Any) -> str | None:
    if isinstance(value, list | tuple | set | np.ndarray):
        return ", ".join(str(part) for part in value)
    return None if value is None or pd.isna(value) else str(value)


def _parse_dates(text: "pd.Series[str]") -> "pd.Series[Any]":
    return pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")


def _from_dates(dates: "pd.Series[Any]") -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Seconds and which rows have none."""
    plain = dates.dt.tz_convert("UTC").dt.tz_localize(None) if dates.dt.tz is not None else dates
    return plain.to_numpy().astype("datetime64[s]").astype(np.int64), dates.isna().to_numpy()


def _from_numbers(numbers: "pd.Series[Any]") -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Whole numbers and which rows have none."""
    if pd.api.types.is_signed_integer_dtype(numbers) and not numbers.isna().any():
        return numbers.to_numpy(np.int64), np.zeros(len(numbers), dtype=np.bool_)
    values = numbers.to_numpy(np.float64, na_value=np.nan)
    bad = ~(np.abs(values) < LATEST)
    return np.floor(np.where(bad, 0, values)).astype(np.int64), bad
