"""What is wrong with which row of a catalogue: the facts that the expectations judge.

Every table becomes a frame with one column per fact, worked out once in pandas. A row keeps its `file` and `row`, so
that whatever is wrong with it can be found in the source.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from mmesid.artifacts.items import text_columns
from mmesid.artifacts.pictures import decode
from mmesid.artifacts.values import Catalogue, RawEmbedding
from mmesid.data.preparation import tied

_SHOWN = 80  # characters of a value that a report shows
_BEGINNING = 24  # bytes of a file that is not a picture


def frames(catalogue: Catalogue, min_image_side: int) -> dict[str, pd.DataFrame]:
    """The catalogue's tables with their facts, by the name under which the report shows them.

    Args:
        catalogue: as a source gave it.
        min_image_side: pixels below which a picture counts as broken.

    Returns:
        interactions, users, items, texts, pictures and one frame per precomputed embedding, `<modality> embedding`.
        A fact is a boolean column that is True where the row is right, or a column that says what is wrong.
    """
    checked = {
        "interactions": _interactions(catalogue),
        "users": _users(catalogue.interactions),
        "items": _items(catalogue),
        "texts": catalogue.items.drop(columns=["image", "image_name", "image_fault"], errors="ignore"),
        "pictures": _pictures(catalogue.items, min_image_side),
    }
    for modality, embedding in catalogue.embeddings.items():
        checked[f"{modality} embedding"] = _embedding(modality, embedding)
    return checked


def shorten(value: object) -> str:
    """One line of at most 80 characters that shows the value."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return "null"
    line = " ".join(str(value)[: 4 * _SHOWN].split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def picture_fault(content: bytes, min_side: int) -> str | None:
    """What is wrong with a picture, None if it can be used. Decodes it fully: a truncated file shows only then."""
    if not content:
        return "does not open: the file is empty"
    try:
        picture = decode(content)
    except UnidentifiedImageError:
        beginning = content[:_BEGINNING].decode("ascii", errors="replace")
        return f"does not open: not a picture, it begins with {shorten(beginning)!r}"
    except Exception as error:  # decoders raise whatever the bytes make them trip over
        return f"does not open: {shorten(error)}"
    width, height = picture.size
    if min(width, height) < min_side:
        return f"too small: {width} x {height} pixels, a side needs {min_side}"
    if all(low == high for low, high in cast(tuple[tuple[int, int], ...], picture.getextrema())):
        return "a single color: shows nothing"
    return None


def rejects(frame: pd.DataFrame, table: str, column: str, reasons: "pd.Series[str]") -> pd.DataFrame:
    """The rows that `reasons` names, as the table of rejects shows them.

    Args:
        frame: a frame with `file`, `row` and `column`.
        table: name of the frame.
        column: the column whose value is shown; several, joined by a comma and a space.
        reasons: why each row is wrong, indexed as `frame`.
    """
    wrong = frame.loc[reasons.index]
    columns = [column] if column in frame else column.split(", ")
    values = [", ".join(map(shorten, row)) for row in zip(*(wrong[name] for name in columns), strict=True)]
    places = {"table": table, "file": wrong["file"].astype(str), "row": wrong["row"].astype("int64")}
    return pd.DataFrame({**places, "column": column, "value": values, "reason": reasons.astype(str)})


def _interactions(catalogue: Catalogue) -> pd.DataFrame:
    table = catalogue.interactions
    users, items = pd.factorize(table["user_id"])[0], pd.factorize(table["item_id"])[0]
    known = table["item_id"].isin(catalogue.items["item_id"].dropna()) | table["item_id"].isna()
    first, times = _first(table, users, items), _as_numbers(table["timestamp"])
    is_new = first == np.arange(len(table))
    return table.assign(
        user_id_is_text=_is_text(table["user_id"]),
        item_id_is_text=_is_text(table["item_id"]),
        timestamp_is_integer=_is_integer(table["timestamp"]),
        item_is_known=known,
        first=first,
        is_new=is_new,
        is_in_order=_is_in_order(users, times),
        is_tied=is_new & tied(np.where(is_new, users, -1), times),
    )


def _users(interactions: pd.DataFrame) -> pd.DataFrame:
    """One row per user; file and row are those of the first interaction."""
    codes, users = pd.factorize(interactions["user_id"])
    known = codes >= 0
    positions = np.flatnonzero(known)[np.unique(codes[known], return_index=True)[1]]  # codes count from 0 as users come
    first = interactions[["file", "row"]].iloc[positions].reset_index(drop=True)
    return first.assign(user_id=users, interactions=np.bincount(codes[known], minlength=len(users)))


def _items(catalogue: Catalogue) -> pd.DataFrame:
    """The texts stay in a frame of their own: their columns may have any name, also that of a fact."""
    items = catalogue.items[["item_id", "file", "row"]]
    item_id, texts = items["item_id"], catalogue.items[text_columns(catalogue.items)]
    filled = {name: text.notna() & text.astype(str).str.strip().ne("") for name, text in texts.items()}
    facts: dict[str, Any] = {
        "item_id_is_text": _is_text(item_id),
        **_repeated_items(catalogue.items),
        "has_text": pd.DataFrame(filled, index=items.index, dtype=bool).any(axis=1),
        "has_picture": _has_picture(catalogue.items),
    }
    for modality, embedding in catalogue.embeddings.items():
        facts[f"has_{modality}_embedding"] = item_id.isin(pd.Series(embedding.item_ids[embedding.present()]))
    return items.assign(**facts)


def _repeated_items(items: pd.DataFrame) -> dict[str, "pd.Series[Any]"]:
    """How often each item_id stands, whether all of its rows say the same, and where a row's content stood first."""
    item_id = items["item_id"]
    times = item_id.map(item_id.value_counts()).fillna(1).astype(int)
    content = items[times > 1].drop(columns=["image", "file", "row"]).astype(object).fillna("\0")
    first_row, rows_agree = items["row"].copy(), pd.Series(True, items.index)
    is_new = pd.Series(True, items.index)
    if len(content):
        key = pd.Series(pd.factorize(pd.MultiIndex.from_frame(content))[0], content.index)
        first_row[content.index] = items["row"][content.index].groupby(key).transform("first")
        rows_agree[content.index] = key.groupby(content["item_id"]).transform("nunique") == 1
        is_new[content.index] = ~key.duplicated()
    return {"times": times, "rows_agree": rows_agree, "first_row": first_row, "is_new": is_new}


def _pictures(items: pd.DataFrame, min_side: int) -> pd.DataFrame:
    """One row per item that names or holds a picture; `fault` is null where the picture can be used."""
    named = items[_has_picture(items)]
    with ThreadPoolExecutor() as pool:  # decoding leaves the interpreter's lock
        faults = list(pool.map(lambda content: _content_fault(content, min_side), named["image"]))
    fault = pd.Series(faults, index=named.index, dtype=object)
    if "image_fault" in named:  # says more than that there is none
        fault = named["image_fault"].astype(object).where(named["image_fault"].notna(), fault)
    return named[["item_id", "image_name", "file", "row"]].assign(fault=fault)


def _content_fault(content: object, min_side: int) -> str | None:
    return picture_fault(content, min_side) if isinstance(content, bytes) else "missing: no such file among the images"


def _embedding(modality: str, embedding: RawEmbedding) -> pd.DataFrame:
    item_ids = pd.Series(embedding.item_ids)
    rows, width = embedding.matrix.shape
    return pd.DataFrame(
        {
            "item_id": item_ids,
            "times": item_ids.map(item_ids.value_counts()).fillna(1).astype(int),
            "width": width,
            "is_finite": np.isfinite(embedding.matrix).all(axis=1),
            "file": f"embeddings/{modality}_*.npz",
            "row": np.arange(1, rows + 1),
        }
    )


def _has_picture(items: pd.DataFrame) -> "pd.Series[bool]":
    return items["image"].notna() | items["image_name"].notna()


def _is_text(values: "pd.Series[Any]") -> "pd.Series[bool]":
    """True for text that is not empty, and for null, which has its own expectation."""
    if isinstance(values.dtype, pd.StringDtype):
        return (values != "") | values.isna()
    return values.map(lambda value: isinstance(value, str) and value != "").astype(bool) | values.isna()


def _is_integer(values: "pd.Series[Any]") -> "pd.Series[bool]":
    """True for whole numbers, also where a null among them made the column a float, and for null."""
    if pd.api.types.is_integer_dtype(values.dtype):
        return pd.Series(True, index=values.index)
    if pd.api.types.is_float_dtype(values.dtype):
        return pd.Series(np.isfinite(values) & (values % 1 == 0), index=values.index) | values.isna()
    return values.map(lambda value: isinstance(value, int | np.integer)).astype(bool) | values.isna()


def _as_numbers(timestamps: "pd.Series[Any]") -> NDArray[Any]:
    """Timestamps as numbers, NaN where one is none."""
    numbers = timestamps if timestamps.dtype.kind in "iuf" else pd.to_numeric(timestamps, errors="coerce")
    return numbers.to_numpy()


def _first(table: pd.DataFrame, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each interaction the position at which its user, item and timestamp stand first; its own if an id is null."""
    whole = (users >= 0) & (items >= 0) & table["timestamp"].notna().to_numpy()
    keys = pd.DataFrame(
        {"pair": users * (items.max(initial=0) + 1) + items, "timestamp": table["timestamp"].to_numpy()}
    )
    repeated = keys[whole].duplicated(keep=False)
    first = np.arange(len(table))
    if repeated.any():
        positions = np.flatnonzero(whole)[repeated.to_numpy()]
        among = keys.iloc[positions].assign(position=positions)
        first[positions] = among.groupby(["pair", "timestamp"])["position"].transform("first").to_numpy()
    return first


def _is_in_order(users: NDArray[np.int64], times: NDArray[Any]) -> NDArray[np.bool_]:
    """False where an interaction is earlier than the one that stands before it in the file for the same user."""
    by_user = np.argsort(users, kind="stable")
    user, time = users[by_user], times[by_user]
    ordered = np.ones(len(users), dtype=bool)
    ordered[by_user[1:]] = ~((user[1:] == user[:-1]) & (user[1:] >= 0) & (time[1:] < time[:-1]))
    return ordered
