"""Preparation: what leaves, how ids and time are ordered, and what leave-one-out sees."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmesid.artifacts.values import Catalogue
from mmesid.config import Prepare
from mmesid.data.preparation import HAS, TIES, k_core, prepare, tied_share
from mmesid.errors import DataError
from tests.amazon_files import picture
from tests.data.preparing import LOOSE


def catalogue(rows: list[tuple[str | None, str | None, int]], items: list[str]) -> Catalogue:
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    interactions = interactions.astype({"user_id": "str", "item_id": "str"})
    interactions = interactions.assign(file="interactions.csv", row=range(1, len(rows) + 1))
    table = pd.DataFrame({"item_id": items, "title": [f"title of {item}" for item in items]}, dtype="str")
    table = table.assign(image=None, image_name=None, file="items.csv", row=range(1, len(items) + 1))
    return Catalogue(interactions, table, {})


def history(user: str, items: str, times: list[int] | None = None) -> list[tuple[str, str, int]]:
    return [(user, item, time) for item, time in zip(items, times or range(len(items)), strict=True)]


def test_ids_are_contiguous_in_order_of_first_appearance() -> None:
    prepared = prepare(catalogue(history("second", "cab") + history("first", "bcd"), list("abcd")), LOOSE)
    assert prepared.sequences.user_ids == ["second", "first"]
    assert prepared.items["item_id"].to_list() == ["c", "a", "b", "d"]
    assert [items.tolist() for items in prepared.sequences.items] == [[1, 2, 3], [3, 1, 4]]
    assert prepared.sequences.n_items == 4
    assert prepared.items["title"].to_list() == ["title of c", "title of a", "title of b", "title of d"]
    assert list(prepared.items.columns) == ["item_id", "title", "image_name"]


def test_pictures_follow_the_items_and_stand_apart() -> None:
    pictured = catalogue(history("u", "cab"), list("abcd"))
    pictured.items["image"] = pd.Series([b"of a", None, b"of c", b"of d"], dtype=object)
    prepared = prepare(pictured, LOOSE)
    assert prepared.items["item_id"].to_list() == ["c", "a", "b"]
    assert prepared.pictures == [b"of c", b"of a", None]


@pytest.mark.parametrize(
    ("lacking", "left"), [([], "abcdef"), (["text"], "bcdef"), (["image"], "aef"), (list(HAS), "ef")]
)
def test_items_that_lack_something_leave_before_the_core(lacking: list[str], left: str) -> None:
    rows = [*history("u", "abcdef"), *history("v", "ebcdf"), *history("w", "aef")]
    pictured = catalogue(rows, list("abcdef"))
    pictured.items.loc[0, "title"] = None
    good, pixel = picture(0), picture(0, "PNG", side=1)
    pictured.items["image"] = pd.Series([good, None, b"\xff\xd8 damaged", pixel, good, good], dtype=object)
    settings = LOOSE.model_copy(update={"drop_items_without": lacking, "min_user_interactions": 1})
    prepared = prepare(pictured, settings)
    assert "".join(sorted(prepared.items["item_id"])) == left
    assert len(prepared.sequences.user_ids) == 3


def test_time_orders_a_history_and_ties_keep_the_order_of_the_file() -> None:
    rows = history("u", "abcde", [5, 3, 3, 9, 3])
    prepared = prepare(catalogue(rows, list("abcde")), LOOSE)
    named = prepared.items["item_id"].to_numpy()[prepared.sequences.items[0] - 1]
    assert "".join(named) == "bcead"


def loose(ties: str) -> Prepare:
    return LOOSE.model_copy(update={"ties": ties})


def named(found: Catalogue, settings: Prepare, seed: int = 0) -> dict[str, str]:
    """Each user's items by name, in order."""
    prepared = prepare(found, settings, seed)
    names = prepared.items["item_id"].to_numpy()
    users = zip(prepared.sequences.user_ids, prepared.sequences.items, strict=True)
    return {user: "".join(names[items - 1]) for user, items in users}


def test_shuffled_ties_are_drawn_from_the_seed_whatever_the_order_of_the_rows() -> None:
    users = [f"u{number}" for number in range(200)]
    rows = [(user, item, time) for user in users for item, time in zip("abcdefg", (1, 2, 2, 2, 2, 3, 3), strict=True)]
    shuffled = loose("shuffled")
    found = named(catalogue(rows, list("abcdefg")), shuffled)
    backwards = named(catalogue(rows[::-1], list("gfedcba")), shuffled)
    assert found == backwards == named(catalogue(rows, list("abcdefg")), shuffled)
    assert found != named(catalogue(rows, list("abcdefg")), shuffled, seed=1)
    assert {(order[0], "".join(sorted(order[1:5])), "".join(sorted(order[5:]))) for order in found.values()} == {
        ("a", "bcde", "fg")
    }
    assert len({order[1:5] for order in found.values()}) == 24  # every order of four, none of which is rare
    before = [[order.index(one) < order.index(other) for order in found.values()] for one, other in ("bc", "ce", "fg")]
    assert np.abs(np.mean(before, axis=1) - 0.5).max() < 4 * 0.5 / np.sqrt(len(users))


def test_where_nothing_is_tied_every_order_of_ties_is_the_same() -> None:
    rows = [*history("u", "abcde", [5, 3, 1, 9, 4]), *history("v", "abc")]
    assert len({tuple(named(catalogue(rows, list("abcde")), loose(ties)).items()) for ties in TIES}) == 1


def test_repeats_that_are_kept_are_shuffled_as_any_other() -> None:
    rows = [("u", item, 1) for item in "abab"]
    kept = loose("shuffled").model_copy(update={"repeats": "keep"})
    orders = {named(catalogue(rows, list("ab")), kept, seed)["u"] for seed in range(100)}
    assert orders == {"aabb", "abab", "abba", "baab", "baba", "bbaa"}


def test_the_share_of_ties_is_of_what_the_core_keeps() -> None:
    rows = [*history("u", "abcd", [1, 1, 2, 3]), *history("v", "ab", [1, 1]), ("u", "a", 1)]
    found = catalogue(rows, list("abcd"))
    for repeats, expected in (("drop", 2 / 4), ("keep", 3 / 5)):
        settings = LOOSE.model_copy(update={"repeats": repeats})
        assert tied_share(found, prepare(found, settings), settings) == expected


def test_interleaved_users_stay_apart() -> None:
    rows = [row for pair in zip(history("u", "abc"), history("v", "cba"), strict=True) for row in pair]
    sequences = prepare(catalogue(rows, list("abc")), LOOSE).sequences
    assert sequences.user_ids == ["u", "v"]
    assert sequences.items[0].tolist() == sequences.items[1].tolist()[::-1]


def test_leave_one_out_keeps_the_last_two_items_from_training() -> None:
    sequences = prepare(catalogue(history("u", "abcde"), list("abcde")), LOOSE).sequences
    assert sequences.train()[0].tolist() == [1, 2, 3]
    assert sequences.history("valid")[0].tolist() == [1, 2, 3]
    assert sequences.target("valid").tolist() == [4]
    assert sequences.history("test")[0].tolist() == [1, 2, 3, 4]
    assert sequences.target("test").tolist() == [5]
    assert sequences.train_frequency().tolist() == [0, 1, 1, 1, 0, 0]


def test_rows_that_nobody_can_use_leave() -> None:
    rows = [*history("u", "abc"), (None, "a", 0), ("u", None, 7), ("u", "unknown", 8), ("u", "b", 1)]
    prepared = prepare(catalogue(rows, list("abc")), LOOSE)
    assert [items.tolist() for items in prepared.sequences.items] == [[1, 2, 3]]


def test_a_repeat_at_another_time_stays() -> None:
    prepared = prepare(catalogue([*history("u", "abc"), ("u", "a", 9)], list("abc")), LOOSE)
    assert prepared.sequences.items[0].tolist() == [1, 2, 3, 1]


def test_the_first_of_two_items_with_one_id_is_kept() -> None:
    doubled = catalogue(history("u", "abc"), ["a", "b", "c", "a"])
    doubled.items.loc[3, "title"] = "another"
    assert prepare(doubled, LOOSE).items["title"].to_list() == ["title of a", "title of b", "title of c"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=80),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_k_core_is_the_largest_fixpoint(pairs: list[tuple[int, int]], min_user: int, min_item: int) -> None:
    frame = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    kept = k_core(frame, min_user, min_item)
    core = frame[kept]
    assert (core.groupby("user_id").size() >= min_user).all()
    assert (core.groupby("item_id").size() >= min_item).all()
    assert k_core(core, min_user, min_item).all()
    assert np.array_equal(kept, _peel(frame, min_user, min_item))


def _peel(frame: pd.DataFrame, min_user: int, min_item: int) -> np.ndarray:
    """The definition, one interaction at a time: one whose user or item has too few leaves, until there is none."""
    left = np.ones(len(frame), dtype=bool)
    while True:
        rows = frame[left]
        users = rows.groupby("user_id")["item_id"].transform("size")
        items = rows.groupby("item_id")["user_id"].transform("size")
        short = rows.index[(users < min_user) | (items < min_item)]
        if short.empty:
            return left
        left[short[-1]] = False


def test_nothing_left_says_what_the_k_core_removed() -> None:
    with pytest.raises(
        DataError, match=r"k-core \(5 per user, 5 per item\).*busiest user has 3.*min_user_interactions"
    ):
        prepare(
            catalogue(history("u", "abc"), list("abc")),
            Prepare(
                repeats="drop", ties="source", drop_items_without=[], min_user_interactions=5, min_item_interactions=5
            ),
        )


def test_users_with_one_interaction_only_leave_nothing() -> None:
    rows = [row for user in "uvw" for row in history(user, "a")]
    with pytest.raises(DataError, match="the busiest user has 1, the most frequent item 3"):
        prepare(catalogue(rows, ["a"]), LOOSE)


def test_only_unknown_items_leave_nothing() -> None:
    with pytest.raises(DataError, match="0 have a user and a known item"):
        prepare(catalogue(history("u", "xyz"), list("abc")), LOOSE)


def test_one_item_is_nothing_to_choose_from() -> None:
    rows = [row for user in "uv" for row in history(user, "aaab")]
    with pytest.raises(DataError, match=r"one item is left.*leaves 6 of it.*prepare.min_item_interactions"):
        prepare(catalogue(rows, list("ab")), LOOSE.model_copy(update={"min_item_interactions": 3}))
    assert prepare(catalogue(rows, list("ab")), LOOSE).sequences.n_items == 2


def test_nothing_left_names_what_items_had_to_have() -> None:
    with pytest.raises(DataError, match=r"0 have .* prepare.drop_items_without asks \(image\)"):
        prepare(catalogue(history("u", "abc"), list("abc")), LOOSE.model_copy(update={"drop_items_without": ["image"]}))


def test_a_repeat_at_the_same_time_is_dropped_or_kept() -> None:
    doubled = catalogue([*history("u", "abc"), ("u", "b", 1)], list("abc"))
    for repeats, expected in (("drop", [1, 2, 3]), ("keep", [1, 2, 2, 3])):
        prepared = prepare(doubled, LOOSE.model_copy(update={"repeats": repeats}))
        assert prepared.sequences.items[0].tolist() == expected
