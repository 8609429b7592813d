"""The gate passes good data, fails on each planted fault by itself, and names the file and the row."""

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmesid import config
from mmesid.artifacts.values import Catalogue, RawEmbedding
from mmesid.config import Validate
from mmesid.data import checks
from mmesid.data.expectations import Verdict, judge

ROOT = Path(__file__).parents[2]
USERS, ITEMS, EACH = 30, 24, 10  # users, items, interactions of a user
DEFAULTS = config.load("sample", ROOT).validate_


def png(side: int = 16, color: tuple[int, int, int] | None = None) -> bytes:
    """A picture of one color, or of noise where none is given; noise makes a file long enough to cut."""
    noise = np.random.default_rng(side).integers(0, 255, (side, side, 3), dtype=np.uint8)
    image = Image.new("RGB", (side, side), color) if color else Image.fromarray(noise)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG" if side > 16 else "PNG")
    return buffer.getvalue()


def good() -> Catalogue:
    """Small, right in all ways, with titles that are empty or in other scripts, and an item without a picture."""
    item_ids = [f"i{number}" for number in range(ITEMS)]
    rows = [
        (f"u{user}", item_ids[(user + 5 * step) % ITEMS], 100 + step) for user in range(USERS) for step in range(EACH)
    ]
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    titles = ["", "шарф", "围巾", "وشاح", "襟巻き 🧣", None] + [f"Scarf {number}" for number in range(6, ITEMS)]
    items = pd.DataFrame({"item_id": item_ids, "title": titles, "times": "a column named like a fact"})
    items["image"] = pd.Series([png(16) for _ in item_ids[:-1]] + [None], dtype=object)
    items["image_name"] = [f"{item}.png" for item in item_ids[:-1]] + [None]
    matrix = np.random.default_rng(0).normal(size=(ITEMS, 4)).astype(np.float32)
    return Catalogue(
        interactions.assign(file="interactions.csv", row=np.arange(1, len(rows) + 1)),
        items.assign(file="items.csv", row=np.arange(1, ITEMS + 1)),
        {"text": RawEmbedding(np.array(item_ids, dtype=object), matrix)},
    )


class Fault(NamedTuple):
    """What is planted, which expectation must fail, how often, where, and the limit that tolerates it."""

    plant: Callable[[Catalogue], Catalogue]
    expectation: str
    failed: int
    file: str = "interactions.csv"
    row: int = 0
    tolerated_by: dict[str, float] = {}  # noqa: RUF012


def cell(table: str, row: int, column: str, value: object) -> Callable[[Catalogue], Catalogue]:
    """Sets one value of a table, given by its row in the file."""

    def plant(catalogue: Catalogue) -> Catalogue:
        frame = getattr(catalogue, table).copy()
        frame[column] = frame[column].astype(object)
        frame.at[row - 1, column] = value
        return catalogue._replace(**{table: frame})

    return plant


def column(name: str, change: Callable[["pd.Series"], "pd.Series"]) -> Callable[[Catalogue], Catalogue]:
    """Changes a column of the interactions."""
    return lambda catalogue: catalogue._replace(
        interactions=catalogue.interactions.assign(**{name: change(catalogue.interactions[name])})
    )


def picture(content: bytes | None) -> Callable[[Catalogue], Catalogue]:
    return cell("items", 7, "image", content)


def vector(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Catalogue], Catalogue]:
    """Changes the matrix of the text embedding; it may become shorter."""

    def plant(catalogue: Catalogue) -> Catalogue:
        embedding = catalogue.embeddings["text"]
        matrix = change(embedding.matrix.copy())
        return catalogue._replace(embeddings={"text": RawEmbedding(embedding.item_ids[: len(matrix)], matrix)})

    return plant


def one_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(matrix: np.ndarray) -> np.ndarray:
        matrix[4, 2] = value
        return matrix

    return change


def one_each(catalogue: Catalogue) -> Catalogue:
    """One interaction for each of as many users as there were interactions."""
    rows = catalogue.interactions
    return catalogue._replace(interactions=rows.assign(user_id=[f"u{number}" for number in range(len(rows))]))


def three_items(catalogue: Catalogue) -> Catalogue:
    kept = ["i0", "i1", "i2"]
    rows = catalogue.interactions.assign(item_id=[kept[number % 3] for number in range(len(catalogue.interactions))])
    return catalogue._replace(interactions=rows, items=catalogue.items[:3])


def repeat_first(catalogue: Catalogue) -> Catalogue:
    rows = catalogue.interactions
    again = rows[:1].assign(row=len(rows) + 1)
    return catalogue._replace(interactions=pd.concat([rows, again], ignore_index=True))


def repeat_item(catalogue: Catalogue) -> Catalogue:
    items = catalogue.items
    again = items[6:7].assign(row=len(items) + 1)
    return catalogue._replace(items=pd.concat([items, again], ignore_index=True))


def repeat_vector(catalogue: Catalogue) -> Catalogue:
    embedding = catalogue.embeddings["text"]
    item_ids = embedding.item_ids.copy()
    item_ids[-1] = item_ids[0]
    return catalogue._replace(embeddings={"text": RawEmbedding(item_ids, embedding.matrix)})


INTEGER = "interactions.timestamp_is_integer"
BROKEN = {"max_broken_images": 0.05}
FAULTS = {
    "null user": Fault(
        cell("interactions", 9, "user_id", None),
        "interactions.user_id_not_null",
        1,
        row=9,
        tolerated_by={"max_missing_ids": 0.01},
    ),
    "null item": Fault(
        cell("interactions", 9, "item_id", None),
        "interactions.item_id_not_null",
        1,
        row=9,
        tolerated_by={"max_missing_ids": 0.01},
    ),
    "null time": Fault(cell("interactions", 9, "timestamp", None), "interactions.timestamp_not_null", 1, row=9),
    "empty user": Fault(cell("interactions", 9, "user_id", ""), "interactions.user_id_is_text", 1, row=9),
    "text as time": Fault(cell("interactions", 9, "timestamp", "May"), INTEGER, 1, row=9),
    "times are text": Fault(column("timestamp", lambda times: times.astype(str)), INTEGER, 300, row=1),
    "unknown item": Fault(
        cell("interactions", 9, "item_id", "i99"), "interactions.item_is_known", 1, row=9,
        tolerated_by={"max_unknown_items": 0.01},
    ),
    "duplicate": Fault(repeat_first, "interactions.is_new", 1, row=301, tolerated_by={"max_duplicates": 0.01}),
    "out of order": Fault(
        cell("interactions", 10, "timestamp", 1), "interactions.is_in_order", 1, row=10,
        tolerated_by={"max_unordered": 0.01},
    ),
    "too few interactions": Fault(
        lambda catalogue: catalogue._replace(interactions=catalogue.interactions[:199]), "interactions.enough", 1,
        tolerated_by={"min_interactions": 199},
    ),
    "too few users": Fault(
        column("user_id", lambda users: "u" + (users.str[1:].astype(int) % 19).astype(str)), "users.enough", 1,
        tolerated_by={"min_users": 19},
    ),
    "one interaction each": Fault(
        one_each, "users.enough_each", 300, row=1, tolerated_by={"max_short_users": 1.0, "min_user_interactions": 1}
    ),
    "three items": Fault(three_items, "items.enough", 17, tolerated_by={"min_items": 3}),
    "null in the items": Fault(cell("items", 24, "item_id", None), "items.item_id_not_null", 1, "items.csv", 24),
    "duplicate item": Fault(cell("items", 5, "item_id", "i0"), "items.rows_agree", 2, "items.csv", 1),
    "item repeated": Fault(
        repeat_item, "items.is_new", 1, "items.csv", ITEMS + 1, tolerated_by={"max_duplicate_items": 0.05}
    ),
    "no text": Fault(
        cell("items", 1, "times", " "), "items.has_text", 1, "items.csv", 1, tolerated_by={"max_missing_text": 0.05}
    ),
    "too long title": Fault(
        cell("items", 7, "title", "x" * 100_000), "texts.title_short", 1, "items.csv", 7,
        tolerated_by={"max_text_length": 100_000},
    ),
    "truncated JPEG": Fault(picture(png(32)[:-300]), "pictures.usable", 1, "items.csv", 7, BROKEN),
    "one pixel": Fault(picture(png(1)), "pictures.usable", 1, "items.csv", 7, BROKEN),
    "text as picture": Fault(picture(b"<html>404</html>"), "pictures.usable", 1, "items.csv", 7, BROKEN),
    "missing file": Fault(picture(None), "pictures.usable", 1, "items.csv", 7, BROKEN),
    "no picture": Fault(
        lambda catalogue: catalogue._replace(items=catalogue.items.assign(image=None, image_name=None)),
        "items.has_picture", 24, "items.csv", 1, {"max_missing_image": 1.0},
    ),
    "NaN": Fault(vector(one_value(np.nan)), "text_embedding.is_finite", 1, "embeddings/text_*.npz", 5),
    "infinity": Fault(vector(one_value(np.inf)), "text_embedding.is_finite", 1, "embeddings/text_*.npz", 5),
    "empty vectors": Fault(vector(lambda m: m[:, :0]), "text_embedding.wide", ITEMS, "embeddings/text_*.npz", 1),
    "embedding lacks items": Fault(
        vector(lambda m: m[:6]), "items.has_text_embedding", 18, "items.csv", 7, {"max_missing_embeddings": 0.75}
    ),
    "embedding repeats an item": Fault(repeat_vector, "text_embedding.item_id_unique", 2, "embeddings/text_*.npz", 1),
}  # fmt: skip
# limits that tolerate anything by default are set here, so that their expectations can fail
STRICT = {"max_unordered": 0.0, "max_missing_text": 0.0, "max_missing_image": 0.05}


def settings(**changes: float) -> Validate:
    return Validate.model_validate({**DEFAULTS.model_dump(), **STRICT, **changes})


@cache
def verdict(name: str) -> Verdict:
    """The verdict on one planted fault, judged once."""
    return judge(FAULTS[name].plant(good()), settings())


def rejects_of(name: str) -> pd.DataFrame:
    """The rejects of the expectation that the fault fails."""
    rejects = verdict(name).rejects
    return rejects[rejects["expectation"] == FAULTS[name].expectation]


def failures(judged: Verdict) -> dict[str, int]:
    return {result.name: result.failed for result in judged.expectations if not result.passed}


def test_good_data_passes_without_rejects() -> None:
    judged = judge(good(), DEFAULTS)
    assert judged.passed
    assert failures(judged) == {}
    assert judged.rejects.empty
    assert judged.summary["items_with"] == {"text": ITEMS, "image": ITEMS - 1, "text embedding": ITEMS}


def test_a_catalogue_without_content_passes() -> None:
    bare = good()
    items = bare.items[["item_id", "file", "row"]].assign(image=None, image_name=None)
    judged = judge(Catalogue(bare.interactions, items, {}), DEFAULTS)
    assert judged.passed
    assert judged.summary["items_with"] == {"text": 0, "image": 0}


@pytest.mark.parametrize("name", FAULTS)
def test_each_planted_fault_fails_its_expectation(name: str) -> None:
    fault = FAULTS[name]
    assert not verdict(name).passed
    assert failures(verdict(name))[fault.expectation] == fault.failed


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.row])
def test_rejects_name_file_and_row(name: str) -> None:
    fault = FAULTS[name]
    mine = rejects_of(name)
    assert len(mine) == fault.failed
    assert (mine["file"].iloc[0], mine["row"].iloc[0]) == (fault.file, fault.row)
    assert not mine["tolerated"].any()
    result = next(result for result in verdict(name).expectations if result.name == fault.expectation)
    assert {"file": fault.file, "row": fault.row}.items() <= result.examples[0].items()


TOLERATED = (
    (
        "unknown item",
        "duplicate",
        "out of order",
        "no text",
        "truncated JPEG",
        "embedding lacks items",
        "too long title",
    ),
    ("three items", "one interaction each", "too few interactions", "no picture"),
    ("too few users", "too long title", "item repeated", "null item"),
    ("null user",),
)


@pytest.mark.parametrize("names", TOLERATED)
def test_faults_within_their_limits_are_tolerated(names: tuple[str, ...]) -> None:
    catalogue, limits = good(), {}
    for name in names:
        catalogue, limits = FAULTS[name].plant(catalogue), limits | FAULTS[name].tolerated_by
    results = {result.name: result for result in judge(catalogue, settings(**limits)).expectations}
    for name in names:
        result = results[FAULTS[name].expectation]
        assert result.passed
        assert result.key in FAULTS[name].tolerated_by


def test_every_limit_that_is_a_parameter_is_tried() -> None:
    tried = {key for names in TOLERATED for name in names for key in FAULTS[name].tolerated_by}
    assert tried == set(Validate.model_fields) - {"min_image_side"}


def test_the_share_that_equals_the_limit_is_tolerated() -> None:
    """210 of 300 rows against .7: 1 - .7 is not exact in binary, so the limit must be rounded."""
    rows = good().interactions
    rows.loc[:209, "item_id"] = "nowhere"
    for limit, passes in ((0.7, True), (0.699, False)):
        judged = judge(good()._replace(interactions=rows), settings(max_unknown_items=limit))
        result = next(result for result in judged.expectations if result.key == "max_unknown_items")
        assert (result.failed, result.passed) == (210, passes)


def test_tolerated_rows_are_still_rejects_and_limitless_ones_are_not() -> None:
    plant = FAULTS["duplicate"].plant
    rejects = judge(plant(good()), settings(max_duplicates=0.5)).rejects
    assert rejects.loc[rejects["expectation"] == "interactions.is_new", "tolerated"].tolist() == [True]
    judged = judge(plant(good()), settings(max_duplicates=1.0))
    assert "interactions.is_new" not in set(judged.rejects["expectation"])
    assert next(result for result in judged.expectations if result.name == "interactions.is_new").examples


def test_judging_twice_gives_the_same_json_and_rejects() -> None:
    first, second = verdict("truncated JPEG"), judge(FAULTS["truncated JPEG"].plant(good()), settings())
    assert json.dumps(first.to_dict()) == json.dumps(second.to_dict())
    pd.testing.assert_frame_equal(first.rejects, second.rejects)


def test_shown_values_are_short() -> None:
    shown = rejects_of("too long title").iloc[0]
    assert len(shown["value"]) <= 80
    assert shown["reason"] == "too long: 100,000 characters"


def test_rejects_have_the_same_types_with_and_without_rows() -> None:
    empty = judge(good()._replace(items=good().items[:0]), settings(max_unknown_items=1.0)).rejects
    assert empty.empty
    assert empty.dtypes.to_dict() == verdict("duplicate").rejects.dtypes.to_dict()


def test_a_text_column_may_have_any_name() -> None:
    catalogue = good()
    catalogue.items["has_text, $ {x}.y"] = "x" * 30_000
    assert failures(judge(catalogue, DEFAULTS)) == {"texts.has_text,_$_{x}.y_short": ITEMS}


def test_a_duplicate_names_the_row_it_repeats() -> None:
    assert rejects_of("duplicate")["reason"].tolist() == ["repeats row 1"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png(32)[:-300], "does not open: image file is truncated"),
        (png(16)[:-40], "does not open"),
        (b"hello there", "does not open: not a picture, it begins with 'hello there'"),
        (b"", "does not open: the file is empty"),
        (png(1), "too small: 1 x 1 pixels"),
        (png(32, (1, 2, 3)), "a single color"),
    ],
)
def test_a_broken_picture_says_why(content: bytes, reason: str) -> None:
    assert (checks.picture_fault(content, 8) or "").startswith(reason)


def test_no_reason_is_longer_than_a_line() -> None:
    assert len(checks.picture_fault(b"x" * 1000, 8) or "") < 100


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK", "F"])
def test_a_picture_of_any_mode_is_usable(mode: str) -> None:
    image = Image.linear_gradient("L")
    image = Image.new("I;16", (16, 16)) if mode == "I;16" else image.convert(mode)
    if mode == "I;16":
        image.putpixel((3, 3), 999)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    assert checks.picture_fault(buffer.getvalue(), 8) is None


def test_order_is_judged_within_each_user() -> None:
    table = pd.DataFrame({"user_id": ["a", "b", "a", "b", None, None], "timestamp": [5, 1, 6, 0, 9, 8]})
    frame = table.assign(item_id=list("xyzxyz"), file="f", row=range(1, 7))
    items = pd.DataFrame(
        {"item_id": list("xyz"), "title": "t", "image": None, "image_name": None, "file": "g", "row": 1}
    )
    facts = checks.frames(Catalogue(frame, items, {}), 8)["interactions"]
    assert facts["is_in_order"].tolist() == [True, True, True, False, True, True]
