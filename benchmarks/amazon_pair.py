"""A catalogue in the `files` format as the two files of Amazon's release of 2014: `python -m benchmarks.amazon_pair`.

`python -m benchmarks.amazon_pair PATH/beauty TARGET --category Beauty` writes `reviews_Beauty_5.json.gz` and
`meta_Beauty.json.gz`, without pictures, so that `make paper FROM=TARGET` runs on real interactions where the release
itself is out of reach. Times become whole seconds since 1970, as the release has them; those that only count, from 0
for instance, are moved behind EPOCH.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from mmesid.artifacts import releases
from mmesid.artifacts.files import write_atomically

EPOCH = 1_300_000_000  # seconds since 1970
COUNTED, FINER = 10**8, 10**11  # below it numbers are no seconds since 1970, from here on thousandths or finer ones
TEXTS = ("title", "brand")


def main() -> None:
    """Read the command line and write the pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("catalogue", type=Path, help="folder with interactions.parquet and items.parquet")
    parser.add_argument("target", type=Path, help="folder for the two files, made if missing")
    parser.add_argument("--category", default="Beauty")
    given = parser.parse_args()
    for path in write(given.catalogue, given.target, given.category):
        sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")


def write(catalogue: Path, target: Path, category: str) -> list[Path]:
    """The two files, under the names of the release.

    Args:
        catalogue: folder with interactions.parquet and items.parquet.
        target: folder for them, made if missing.
        category: in their names.
    """
    target.mkdir(parents=True, exist_ok=True)
    interactions, items = (pd.read_parquet(catalogue / f"{table}.parquet") for table in releases.TABLES)
    contents = reviews(interactions), products(items)
    paths = [target / releases.names("2014", category, table)[0] for table in releases.TABLES]
    for path, lines in zip(paths, contents, strict=True):
        _save(path, pack(lines))
    return paths


def _save(path: Path, content: bytes) -> None:
    write_atomically(path, lambda beside: beside.write_bytes(content))


def pack(lines: Iterable[str]) -> bytes:
    """Lines as a gzip file; equal lines give equal bytes."""
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def reviews(interactions: pd.DataFrame) -> Iterator[str]:
    """A line for each interaction, in their order."""
    users, items = (interactions[name].astype(str) for name in ("user_id", "item_id"))
    for user, item, time in zip(users, items, seconds(interactions["timestamp"]), strict=True):
        yield json.dumps({"reviewerID": user, "asin": item, "unixReviewTime": int(time)})


def seconds(times: pd.Series) -> pd.Series:
    """Dates and times, numbers since 1970 in seconds or finer, or any that only count, as seconds since 1970."""
    if not pd.api.types.is_numeric_dtype(times):
        times = pd.to_datetime(times, utc=True).dt.tz_localize(None).astype("datetime64[s]").astype("int64")
    if times.max() < COUNTED:
        return times + EPOCH
    while times.max() >= FINER:
        times = times // 1000
    return times


def products(items: pd.DataFrame, pictures: str = "") -> Iterator[str]:
    """A Python dictionary for each item; its texts, and its picture at `pictures`?item_id where that is given."""
    columns = [
        items[name] if name in items else pd.Series(None, items.index, object) for name in (*TEXTS, "categories")
    ]
    for item, title, brand, categories in zip(items["item_id"].astype(str), *columns, strict=True):
        found = {"asin": item, "title": title, "brand": brand}
        kept = {key: value for key, value in found.items() if not pd.isna(value)}
        if pd.api.types.is_list_like(categories):
            kept["categories"] = [[str(each) for each in categories]]
        elif not pd.isna(categories):
            kept["categories"] = [str(categories).split(" > ")]
        yield repr({**kept, "imUrl": f"{pictures}?{item}"} if pictures else kept)


if __name__ == "__main__":
    main()
