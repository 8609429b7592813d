"""What is expected of a catalogue: for each rule the Great Expectations class that judges it, its limit, and the rows
that break it."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import pandas as pd

from mmesid.artifacts.items import text_columns
from mmesid.config import Validate

Because = str | Callable[[pd.DataFrame], "pd.Series[Any]"]


class Rule(NamedTuple):
    """One expectation before it is judged."""

    name: str
    table: str
    column: str  # several are joined by a comma and a space
    description: str
    kind: Literal["share", "count"]
    expectation: str  # class name in great_expectations.expectations
    arguments: dict[str, Any]
    limit: float  # share: of rows that may break it; count: rows needed
    key: str | None  # the parameter that holds the limit; None where it is fixed
    reasons: "pd.Series[Any]"  # why, for each row that breaks it, indexed as the table's frame


class Table(NamedTuple):
    """A frame of `checks.frames` and the rules that can be made for it.

    In all of them `says` completes "every ...", `because` says what is wrong with a row (one text, or worked out from
    the rows that break the rule), and `key` names the parameter with the share of rows that may break it; without one,
    no row may.
    """

    name: str
    frame: pd.DataFrame
    settings: Validate

    def enough(self, what: str, key: str, condition: str | None = None) -> Rule:
        """There are at least as many rows as the parameter `key` says, counting those that meet `condition`."""
        needed = getattr(self.settings, key)
        arguments: dict[str, Any] = {"min_value": needed}
        if condition:
            arguments |= {"row_condition": condition, "condition_parser": "pandas"}
        describe = f"there are at least {needed:,} {what}"
        name, expectation = f"{self.name}.enough", "ExpectTableRowCountToBeBetween"
        return Rule(
            name, self.name, "", describe, "count", expectation, arguments, needed, key, pd.Series(dtype=object)
        )

    def true(self, column: str, fact: str, says: str, because: Because, key: str | None = None) -> Rule:
        """The boolean column `fact` is true; a report shows the values of `column`."""
        arguments = {"column": fact, "value_set": [True]}
        return self.share(column, fact, says, "ExpectColumnValuesToBeInSet", arguments, ~self.frame[fact], because, key)

    def not_null(self, column: str, key: str | None = None) -> Rule:
        """The column has no nulls; `key` is named where it has some, or may."""
        wrong, expectation = self.frame[column].isna(), "ExpectColumnValuesToNotBeNull"
        key = key if key and (wrong.any() or getattr(self.settings, key)) else None
        return self.share(
            column, f"{column}_not_null", f"{column} is given", expectation, {"column": column}, wrong, "null", key
        )

    def unique(self, column: str) -> Rule:
        """No value but null stands twice; the frame's `times` says how often each does."""
        wrong, expectation = self.frame["times"] > 1, "ExpectColumnValuesToBeUnique"
        return self.share(
            column,
            f"{column}_unique",
            f"{column} is unique",
            expectation,
            {"column": column},
            wrong,
            lambda wrong: "stands " + wrong["times"].astype(str) + " times",
        )

    def share(
        self,
        column: str,
        name: str,
        says: str,
        expectation: str,
        arguments: dict[str, Any],
        wrong: "pd.Series[bool]",
        because: Because,
        key: str | None = None,
    ) -> Rule:
        """All rows but a share meet a column expectation of Great Expectations; `wrong` marks those that do not."""
        limit = float(getattr(self.settings, key)) if key else 0.0
        # 1 - limit is rounded: 1 - 0.7 is 0.30000000000000004, and 3 of 10 rows would no longer do
        judged = {**arguments, "mostly": round(1 - limit, 9)}
        rows = self.frame[wrong]
        reasons = because(rows) if callable(because) and len(rows) else pd.Series(because, rows.index, dtype=object)
        full = f"{self.name}.{name}".replace(" ", "_")
        return Rule(full, self.name, column, f"every {says}", "share", expectation, judged, limit, key, reasons)


def rules(frames: dict[str, pd.DataFrame], settings: Validate) -> list[Rule]:
    """Every expectation of a catalogue, in the order in which a report shows them.

    Args:
        frames: as `checks.frames` makes them.
        settings: the limits.
    """
    tables = {name: Table(name, frame, settings) for name, frame in frames.items()}
    embeddings = [table for name, table in tables.items() if name.endswith(" embedding")]
    return [
        *_interactions(tables["interactions"]),
        *_users(tables["users"]),
        *_items(tables["items"], [table.name for table in embeddings]),
        *(_short(tables["texts"], column) for column in text_columns(frames["texts"])),
        *_pictures(tables["pictures"]),
        *(rule for table in embeddings for rule in _embedding(table)),
    ]


def _interactions(table: Table) -> list[Rule]:
    whole, once = "user_id, item_id, timestamp", "interaction stands only once"
    return [
        table.enough("interactions", "min_interactions"),
        *(table.not_null(column, "max_missing_ids") for column in ("user_id", "item_id")),
        table.not_null("timestamp"),
        table.true("user_id", "user_id_is_text", "user_id is text", "not text, or empty"),
        table.true("item_id", "item_id_is_text", "item_id is text", "not text, or empty"),
        table.true("timestamp", "timestamp_is_integer", "timestamp is a whole number", "not a whole number"),
        table.true(
            "item_id", "item_is_known", "item_id is in the catalogue", "not in the catalogue", "max_unknown_items"
        ),
        table.true(whole, "is_new", once, lambda wrong: _repeats(table.frame, wrong), "max_duplicates"),
        table.true(
            "timestamp",
            "is_in_order",
            "user's rows are in order of time",
            "earlier than the user's row before",
            "max_unordered",
        ),
    ]


def _repeats(frame: pd.DataFrame, wrong: pd.DataFrame) -> "pd.Series[Any]":
    """Which row each wrong one repeats, with its file where that is another."""
    first = frame.iloc[wrong["first"].to_numpy()].set_index(wrong.index)
    rows = "repeats row " + first["row"].astype(str)
    return rows.where(first["file"] == wrong["file"], rows + " of " + first["file"])


def _users(table: Table) -> list[Rule]:
    least, column = table.settings.min_user_interactions, "interactions"
    return [
        table.enough(f"users with {least} or more interactions", "min_users", f"{column} >= {least}"),
        table.share(
            column,
            "enough_each",
            f"user has at least {least} interactions",
            "ExpectColumnValuesToBeBetween",
            {"column": column, "min_value": least},
            table.frame[column] < least,
            lambda wrong: "too few: user " + wrong["user_id"].astype(str),
            "max_short_users",
        ),
    ]


def _items(table: Table, embeddings: list[str]) -> list[Rule]:
    found = [
        table.enough("items", "min_items"),
        table.not_null("item_id"),
        table.true("item_id", "item_id_is_text", "item_id is text", "not text, or empty"),
        table.true(
            "item_id",
            "rows_agree",
            "item has one row, or rows that say the same",
            lambda wrong: "stands " + wrong["times"].astype(str) + " times with different values",
        ),
        table.true(
            "item_id",
            "is_new",
            "row of an item stands only once",
            lambda wrong: "repeats row " + wrong["first_row"].astype(str),
            "max_duplicate_items",
        ),
        table.true("item_id", "has_text", "item has a text", "no text in any column", "max_missing_text"),
        table.true("item_id", "has_picture", "item has a picture", "names no picture", "max_missing_image"),
    ]
    for name in embeddings:
        fact, because = f"has_{name.replace(' ', '_')}", f"no row in the {name}, or one of zeros"
        found.append(table.true("item_id", fact, f"item has a row in the {name}", because, "max_missing_embeddings"))
    return found


def _short(table: Table, column: str) -> Rule:
    most, text = table.settings.max_text_length, table.frame[column]
    rule = table.share(
        column,
        f"{column}_short",
        f"text in {column} has at most {most:,} characters",
        "ExpectColumnValueLengthsToBeBetween",
        {"column": column, "max_value": most},
        text.notna() & (text.astype(str).str.len() > most),
        lambda wrong: "too long: " + wrong[column].astype(str).str.len().map("{:,} characters".format),
    )
    return rule._replace(key="max_text_length")


def _pictures(table: Table) -> list[Rule]:
    return [
        table.share(
            "image_name",
            "usable",
            "picture opens, is large enough and shows more than one color",
            "ExpectColumnValuesToBeNull",
            {"column": "fault"},
            table.frame["fault"].notna(),
            lambda wrong: wrong["fault"],
            "max_broken_images",
        )
    ]


def _embedding(table: Table) -> list[Rule]:
    return [
        table.not_null("item_id"),
        table.unique("item_id"),
        table.share(
            "width",
            "wide",
            "vector has at least one number",
            "ExpectColumnValuesToBeBetween",
            {"column": "width", "min_value": 1},
            table.frame["width"] < 1,
            "an empty vector",
        ),
        table.true("item_id", "is_finite", "vector has only finite numbers", "NaN or infinity in its vector"),
    ]
