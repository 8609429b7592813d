"""Writes one small catalogue in any dress that the table of formats allows; see `test_dresses`."""

import csv
import datetime
import decimal
import gzip
import io
import json
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pyarrow as pa
from pyarrow import parquet

SECOND = 1_000_000_000
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Dress(NamedTuple):
    """What one table wears."""

    ending: str
    packed: bool = False
    parts: int = 0  # 0: a single file
    encoding: str = "utf-8"
    delimiter: str = ","
    line_end: str = "\n"
    every_quote: bool = False
    header: str = "plain"  # plain | spaces | none
    ids: str = "text"  # text | whole floats | numbers | bytes | dictionary | index
    padded: bool = False
    time: str = "1"  # a unit of TIMES
    zone: str = ""  # behind ISO texts, of Parquet's times
    texts: str = "text"  # text | bytes | dictionary


TIMES = {  # nanoseconds that a dress of times can tell apart
    "s": SECOND, "ms": 10**6, "us": 1000, "ns": 1,  # whole numbers
    "s text": SECOND, "decimals": 1, "float s": 1000, "float ms": 1000,
    "iso 0": SECOND, "iso 3": 10**6, "iso 6": 1000, "iso 9": 1,
    "stamp s": SECOND, "stamp ms": 10**6, "stamp us": 1000, "stamp ns": 1,  # Parquet's own
}  # fmt: skip
ZONES = {"": "UTC", "Z": "UTC", " UTC": "UTC", "+02:00": "Etc/GMT-2", "-0530": "-0530"}


def write(folder: Path, name: str, rows: list[dict[str, Any]], dress: Dress, names: dict[str, str]) -> None:
    """Write a table: `name.ending`, or a folder `name/` of parts."""
    if not dress.parts:
        write_file(folder / f"{name}{dress.ending}{'.gz' * dress.packed}", rows, dress, names)
        return
    (folder / name).mkdir()
    (folder / name / "_SUCCESS").write_bytes(b"")
    size = -(-len(rows) // dress.parts)
    for part in range(dress.parts):
        # part-9, part-10, ...: the order of names is that of their numbers
        path = folder / name / f"part-{9 + part}{dress.ending}{'.gz' * dress.packed}"
        if rows[part * size : (part + 1) * size]:
            write_file(path, rows[part * size : (part + 1) * size], dress, names)


def write_file(path: Path, rows: list[dict[str, Any]], dress: Dress, names: dict[str, str]) -> None:
    if dress.ending == ".parquet":
        write_parquet(path, rows, dress, names)
        return
    cells = [{names[key]: plain(key, value, dress) for key, value in row.items()} for row in rows]
    text = as_json(cells, dress) if dress.ending in (".jsonl", ".ndjson", ".json") else as_lines(cells, dress)
    content = text.encode(dress.encoding)
    path.write_bytes(gzip.compress(content) if dress.packed else content)


def plain(key: str, value: Any, dress: Dress) -> Any:
    """A cell of a text format."""
    if key == "timestamp":
        return moment(value, dress)
    if key.endswith("_id"):
        if dress.ids == "whole floats":
            return float(value) if dress.ending[1] == "j" or dress.ending[1] == "n" else f"{value}.0"
        if dress.ids == "numbers":
            return int(value)
        return f" {value}\N{NO-BREAK SPACE}" if dress.padded else value
    return value


def moment(nanoseconds: int, dress: Dress) -> Any:
    """A time as the dress writes it."""
    seconds, rest = divmod(nanoseconds, SECOND)
    if dress.time in ("s", "ms", "us", "ns"):
        return nanoseconds // TIMES[dress.time]
    if dress.time == "s text":
        return str(seconds)
    if dress.time == "decimals":
        return f"{seconds}.{rest:09d}"
    if dress.time.startswith("float"):
        return float(decimal.Decimal(nanoseconds) / (SECOND if dress.time == "float s" else 10**6))
    digits = int(dress.time[-1])
    zone = datetime.timezone(datetime.timedelta(hours=-5, minutes=-30)) if dress.zone == "-0530" else None
    local = (EPOCH + datetime.timedelta(seconds=seconds)).astimezone(zone or ZoneInfo(ZONES[dress.zone]))
    fraction = f".{rest:09d}"[: digits + 1] if digits else ""
    return f"{local:%Y-%m-%d}{'T' if dress.padded else ' '}{local:%H:%M:%S}{fraction}{dress.zone}"


def as_json(cells: list[dict[str, Any]], dress: Dress) -> str:
    lines = [json.dumps(row, ensure_ascii=dress.every_quote) for row in cells]
    return f"[{', '.join(lines)}]" if dress.ending == ".json" and dress.every_quote else "\n".join(lines) + "\n\n"


def as_lines(cells: list[dict[str, Any]], dress: Dress) -> str:
    names = list(cells[0])
    if dress.header == "spaces":
        names = [f" {name} " for name in names]
    if dress.ending in (".inter", ".item", ".user"):
        names = [f"{name}:token" for name in names]
    rows = [["" if value is None else str(value) for value in row.values()] for row in cells]
    if dress.header != "none":
        rows.insert(0, names)
    if dress.ending in (".inter", ".item", ".user", ".dat"):
        return "".join(dress.delimiter.join(row) + dress.line_end for row in rows)
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if dress.every_quote else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=dress.delimiter, lineterminator=dress.line_end, quoting=quoting).writerows(rows)
    return out.getvalue()


def write_parquet(path: Path, rows: list[dict[str, Any]], dress: Dress, names: dict[str, str]) -> None:
    columns = {names[key]: column(key, [row[key] for row in rows], dress) for key in rows[0]}
    if dress.header == "spaces":
        columns = {f" {name} ": values for name, values in columns.items()}
    table = pa.table(columns)
    if dress.ids == "index":
        frame = table.to_pandas()
        frame.set_index(next(name for name in frame if "item" in name)).to_parquet(path)
    elif dress.ids == "unnamed index":
        table.to_pandas()[::-1].set_axis(range(7, 7 + len(rows)))[::-1].to_parquet(path)
    else:
        parquet.write_table(table, path)


def column(key: str, values: list[Any], dress: Dress) -> Any:
    """A column of a Parquet file."""
    if key == "timestamp":
        if not dress.time.startswith("stamp"):
            return pa.array([moment(value, dress) for value in values])
        unit = dress.time.split()[1]
        zone = {"Z": "UTC", "": None}.get(dress.zone, "Europe/Berlin")
        return pa.array([value // TIMES[dress.time] for value in values], pa.timestamp(unit, tz=zone))
    if key.endswith("_id") and dress.ids in ("numbers", "whole floats"):
        return pa.array([int(value) for value in values], pa.int32() if dress.ids == "numbers" else pa.float64())
    shape = dress.ids if key.endswith("_id") else dress.texts
    if key.endswith("_id") and dress.padded:
        values = [f"\t{value}  " for value in values]
    if shape == "bytes":
        return pa.array([None if value is None else value.encode() for value in values], pa.binary())
    return pa.array(values, pa.string()).dictionary_encode() if shape == "dictionary" else pa.array(values, pa.string())
