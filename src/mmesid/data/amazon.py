"""The source `amazon`: a category of Amazon's reviews, in the layouts of the releases of 2014, 2018 and 2023.

Reviews are the interactions, the metadata of the reviewed products the items. A line that cannot be read, or lacks what
makes it a review or a product, is rejected with its reason; metadata of products that nobody reviewed is counted and
left out, and of a product that stands several times its first line counts. Pictures are links here: who may use the
network fetches them, and `with_pictures` puts them in their place.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from mmesid.artifacts import releases
from mmesid.artifacts.values import Catalogue
from mmesid.data import files, texts
from mmesid.data.amazon_layouts import LAYOUTS, Layout, find_picture, fitting, picture_links
from mmesid.data.formats import PLAIN, How
from mmesid.data.ids import canonical_ids
from mmesid.data.object_lines import SHOWN, Line, read_lines, read_table
from mmesid.data.pictures import list_pictures
from mmesid.data.tables import Origin
from mmesid.data.times import to_timestamps
from mmesid.errors import DataError

PAGE = "getTime()"  # in titles of 2018 that are a page's script
OWN = ("item_id", "image", *files.RESERVED)  # columns that no text may take the place of
WHOLE = re.compile(r"-?[0-8]?[0-9]{1,18}")  # a number that 64 bits hold


class Held(NamedTuple):
    """What of a file is kept."""

    file: str
    columns: dict[str, list[Any]]
    texts: dict[str, list[Any]]  # by key
    rows: list[int]
    broken: list[Line]
    lines: int  # of the file, those that are not kept included


def read(folder: Path, embeddings: dict[str, str], how: How = PLAIN) -> Catalogue:
    """Read a category.

    Args:
        folder: with the files; pictures in it, as the source `files` takes them, are used instead of links.
        embeddings: names of the precomputed embeddings in it to read, by modality.
        how: release and category; `interactions` and `items` name the files where they are called otherwise;
            `max_broken_lines` is the share of a file's lines that may be broken.

    Returns:
        The catalogue, whose pictures are still links in the column `image_name` where the folder has none.

    Raises:
        DataError: a file is missing or damaged, is of another release, has too many broken lines, or nothing of it can
            be read.
    """
    files.check_folder(folder)
    layout, places = LAYOUTS[how.release], {table: _find(folder, how, table) for table in releases.TABLES}
    reviews = _read_reviews(places["interactions"], layout)
    interactions, notes = _interactions(reviews)
    wanted = set(interactions["item_id"].dropna())
    products, others = _read_products(places["items"], how, wanted)
    _check_broken(how.max_broken_lines, reviews, products)
    items = _items(products)
    notes = [*notes, *_say_broken(reviews, products), *_say_left_out(products, others, layout)]
    if list_pictures(folder):
        items, notes = files.with_pictures(folder, files.Read(items, notes))
    rejects = pd.concat([_rejects(reviews, "interactions"), _rejects(products, "items")], ignore_index=True)
    return Catalogue(interactions, items, files.read_embeddings(folder, embeddings), tuple(notes), rejects)


def links(catalogue: Catalogue) -> list[str]:
    """The links of pictures that are still to be fetched."""
    waiting = catalogue.items["image"].isna() & catalogue.items["image_name"].notna()
    if "image_fault" in catalogue.items:
        return []  # the folder has brought pictures: what it lacks is missing
    return list(catalogue.items.loc[waiting, "image_name"])


def with_fetched(catalogue: Catalogue, fetched: Mapping[str, bytes | str] | None) -> Catalogue:
    """The catalogue with its pictures.

    Args:
        catalogue: as `read` gave it.
        fetched: by link, the picture's file or why there is none; None where nothing was to be fetched, and then a
            link is no picture.
    """
    waiting, items = links(catalogue), catalogue.items.copy()
    if not waiting:
        return catalogue
    if fetched is None:
        items["image_name"] = pd.Series(None, items.index, "str")
        return catalogue._replace(
            items=items, notes=(*catalogue.notes, f"links to pictures that nobody fetched: {len(waiting):,}")
        )
    held = [fetched.get(link) if isinstance(link, str) else None for link in items["image_name"]]
    items["image"] = pd.Series([one if isinstance(one, bytes) else None for one in held], items.index, object)
    faults = pd.Series([one if isinstance(one, str) else None for one in held], items.index, "str")
    if not faults.notna().any():
        return catalogue._replace(items=items)
    items["image_fault"] = faults
    kinds = faults.dropna().str.partition(":")[0].value_counts().sort_index()
    said = ", ".join(f"{kind} {count:,}" for kind, count in kinds.items())
    return catalogue._replace(
        items=items, notes=(*catalogue.notes, f"pictures that could not be had, and are masked: {said}")
    )


def _find(folder: Path, how: How, table: releases.Table) -> Path:
    """The file of a table; raises DataError where there is none."""
    named = how.interactions if table == "interactions" else how.items
    tried = [named] if named else releases.names(how.release, how.category or "", table)
    for name in tried:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} has no {table}: expected is one of {', '.join(tried)} (release {how.release})")


def _read_reviews(path: Path, layout: Layout) -> Held:
    columns: dict[str, list[Any]] = {"user_id": [], "item_id": [], "timestamp": []}
    rows, broken, count = [], [], 0
    keys = (layout.user, layout.item, layout.time)
    for line in read_table(path, keys) if ".csv" in path.name else read_lines(path):
        count = line.row
        if fault := line.fault or _review_fault(line.found or {}, layout):
            broken.append(line._replace(fault=fault, text=line.text or _show(line.found)))
            continue
        review = line.found or {}
        columns["user_id"].append(str(review[layout.user]))
        columns["item_id"].append(str(review[layout.item]))
        columns["timestamp"].append(int(review[layout.time]))
        rows.append(line.row)
    if not rows:
        raise DataError(f"{path} has no review that can be read; the first line: {broken[0].fault}: {broken[0].text!r}")
    return Held(path.name, columns, {}, rows, broken, count)


def _review_fault(review: Mapping[str, Any], layout: Layout) -> str:
    """What a review lacks, empty where it lacks nothing."""
    if absent := [key for key in (layout.user, layout.item) if not str(review.get(key) or "").strip()]:
        return f"no {absent[0]}"
    time = review.get(layout.time)
    if isinstance(time, int | str) and WHOLE.fullmatch(str(time).strip()):
        return ""
    return f"{layout.time}: expected a whole number of 64 bits, found {repr(time)[:SHOWN]}"


def _interactions(reviews: Held) -> tuple[pd.DataFrame, list[str]]:
    """The reviews, columns as in `Catalogue`, and what is doubtful about them."""
    origin = Origin([reviews.file], [len(reviews.rows)])
    frame, notes = pd.DataFrame(index=range(len(reviews.rows))), []
    for name in ("user_id", "item_id"):
        column = pa.chunked_array([pa.array(reviews.columns[name], pa.large_string())])
        frame[name], said = canonical_ids(column, f"interactions: {name}", origin)
        notes += said
    times = pa.chunked_array([pa.array(reviews.columns["timestamp"], pa.int64())])
    frame["timestamp"], doubts = to_timestamps(times, origin)
    frame["file"] = pd.Series(reviews.file, frame.index, "str")
    frame["row"] = np.asarray(reviews.rows, np.int64)
    return frame, [*notes, *doubts]


def _check_broken(limit: float, *helds: Held) -> None:
    """Raises DataError where more than a share of a file's lines are broken, with the first of them."""
    for held in helds:
        if len(held.broken) > limit * held.lines:
            first = held.broken[0]
            raise DataError(
                f"{held.file}: {len(held.broken):,} of {held.lines:,} lines cannot be read, more than "
                f"ingest.max_broken_lines allows ({limit:.2%}); row {first.row}: {first.fault}: {first.text!r}"
            )


def _read_products(path: Path, how: How, wanted: set[str]) -> tuple[Held, dict[str, int]]:
    """The first line of each wanted product, and how many good lines had to be told of, by why."""
    layout = LAYOUTS[how.release]
    keys = list(dict.fromkeys(layout.texts if how.text is None else how.text))
    if taken := [key for key in keys if key in OWN]:
        raise DataError(
            f"ingest.text names {taken[0]}, a name that is needed for something else; expected are other keys of the "
            f"products, such as {', '.join(layout.texts)}"
        )
    columns: dict[str, list[Any]] = {"item_id": [], "image_name": []}
    held: dict[str, list[Any]] = {key: [] for key in keys}
    rows, broken, seen, found, count = [], [], set[str](), Counter[str](), 0
    others = {"unknown": 0, "again": 0, "placeholder": 0, "unlinked": 0}
    for line in read_lines(path):
        product, count = line.found or {}, line.row
        found.update(product.keys())
        item_id = str(product.get(layout.product) or "").strip()
        if line.fault or not item_id:
            fault = line.fault or f"no {layout.product}"
            broken.append(line._replace(fault=fault, text=line.text or _show(line.found)))
        elif item_id not in wanted or item_id in seen:
            others["again" if item_id in seen else "unknown"] += 1
        else:
            seen.add(item_id)
            columns["item_id"].append(item_id)
            picture = find_picture(product, layout)
            linked = any(picture_links(product, layout))
            others["placeholder"] += picture is None and linked
            others["unlinked"] += not linked and any(map(product.get, layout.pictures))
            columns["image_name"].append(picture)
            for key in keys:
                held[key].append(product.get(key))
            rows.append(line.row)
    release, foreign = fitting(found, how.release)
    if release != how.release:
        raise DataError(
            f"{path} has products with {', '.join(foreign)}, as the release {release} has them, and ingest.release is "
            f"{how.release}: set it to {release}; ingest.interactions and ingest.items name the files as they are"
        )
    if not rows:
        raise DataError(f"{path} has no product of those that the reviews name: do both files belong together?")
    if how.text is not None and (missing := [key for key in keys if not any(held[key])]):
        raise DataError(f"ingest.text names {', '.join(missing)}, which no product in {path.name} has")
    return Held(path.name, columns, held, rows, broken, count), others


def _items(products: Held) -> pd.DataFrame:
    """The products, columns as in `Catalogue`."""
    columns = products.columns
    frame = pd.DataFrame({"item_id": pd.Series(columns["item_id"], dtype="str")})
    for name, found in products.texts.items():
        values = pd.Series(found, dtype=object)
        if name == "title":
            values = values.map(lambda title: None if PAGE in str(title) else title)
        frame[name] = texts.readable(name, values)
    frame["image"] = pd.Series(None, frame.index, object)
    frame["image_name"] = pd.Series(columns["image_name"], frame.index, "str")
    frame["file"] = pd.Series(products.file, frame.index, "str")
    frame["row"] = np.asarray(products.rows, np.int64)
    return frame


def _rejects(held: Held, table: str) -> pd.DataFrame:
    """The broken lines, columns as in `validate`'s rejects."""
    rows = [(table, held.file, line.row, "", line.text, line.fault) for line in held.broken]
    frame = pd.DataFrame(rows, columns=["table", "file", "row", "column", "value", "reason"])
    return frame.astype({name: "int64" if name == "row" else "str" for name in frame})


def _show(found: object) -> str:
    return str(found)[:SHOWN]


def _say_broken(*helds: Held) -> list[str]:
    return [
        f"{held.file}: {len(held.broken):,} lines could not be read and are left out (ingest/rejects.parquet), the "
        f"first is row {held.broken[0].row}: {held.broken[0].fault}"
        for held in helds
        if held.broken
    ]


def _say_left_out(products: Held, others: Mapping[str, int], layout: Layout) -> list[str]:
    said = {
        "unknown": "of products that no review names are left out",
        "again": "repeat a product; its first line counts",
        "placeholder": "link to the shop's placeholder (no-img-sm and the like), which is no picture",
    }
    if not others["placeholder"] and not any(products.columns["image_name"]):
        said["unlinked"] = f"have {' or '.join(layout.pictures)}, but no link in a form that is known: no pictures"
    return [f"{products.file}: {others[kind]:,} lines {text}" for kind, text in said.items() if others[kind]]
