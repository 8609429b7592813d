"""Answers requests, and ranks targets in another catalogue than the model was trained on."""

import csv
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.artifacts.items import canonical_id
from mmesid.config import Protocol
from mmesid.errors import RequestError
from mmesid.evaluation.ranking import Scores, best, judge, users_at_a_time


class Recommended(NamedTuple):
    """One item of an answer."""

    item_id: str
    title: str
    score: float


class Answer(NamedTuple):
    """The best items for one history, best first, and what the caller should know about the request."""

    items: list[Recommended]
    note: str  # empty where there is nothing to say


class Service:
    """A recommender that takes and returns the catalogue's own item ids.

    Args:
        scores: of the recommender.
        item_ids: of the items 1..N, in that order.
        titles: likewise.
        exclude_history: whether the user's earlier items are no candidates, as the model was evaluated.
    """

    def __init__(self, scores: Scores, item_ids: Sequence[str], titles: Sequence[str], exclude_history: bool) -> None:
        self.scores = scores
        self.exclude_history = exclude_history
        self._item_ids, self._titles = list(item_ids), list(titles)
        self._number = {item_id: number for number, item_id in enumerate(item_ids, start=1)}

    @property
    def n_items(self) -> int:
        """N, the items that can be recommended."""
        return len(self._item_ids)

    def knows(self, item: object) -> bool:
        """Whether the catalogue has an item of this id, in any form that the tables may have it in."""
        return self._number_of(item) > 0

    def recommend(self, histories: Sequence[Sequence[str | int | float]], k: int = 10) -> list[Answer]:
        """The k best items for each history.

        Only the last T items of a history count; an item may stand in it more than once. Unknown items are left out
        with a note. Where fewer than k items are candidates, the answer is shorter, with a note.

        Args:
            histories: item ids as text or numbers, in any form that the tables may have them in, oldest first.
            k: from 1 to N.

        Raises:
            RequestError: a history is empty or has no item of the catalogue, or k is out of range.
        """
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= len(self._item_ids):
            raise RequestError(f"k must be a whole number from 1 to {len(self._item_ids)} (the catalogue), it is {k!r}")
        if not histories:
            return []
        known = [self._known(history, row) for row, history in enumerate(histories)]
        numbers, notes = [numbers for numbers, _ in known], [note for _, note in known]
        users = users_at_a_time(len(self._item_ids))
        items, scores = best(self.scores, numbers, k, self.exclude_history, users)
        return [self._answer(*row, k) for row in zip(items, scores, notes, strict=True)]

    def rank(
        self,
        item_ids: Sequence[str],
        histories: Sequence[NDArray[np.int64]],
        targets: NDArray[np.int64],
        protocol: Protocol,
    ) -> NDArray[np.int64]:
        """Rank of each target in a catalogue that may have changed since this model was trained.

        Items that the model does not know score -inf: as targets they rank last, and they never push a known one down.

        Args:
            item_ids: of that catalogue's items 1..N, in that order.
            histories: ids 1..N of that catalogue, oldest first.
            targets: likewise, (B,).
            protocol: how all models of that catalogue are judged.

        Returns:
            (B,), 1 is best.
        """
        own_numbers = np.array([0, *(self._number.get(item_id, 0) for item_id in item_ids)])  # (N + 1,), 0: unknown
        scores = in_catalog(self.scores, own_numbers, protocol.history_length)
        users = users_at_a_time(max(len(item_ids), len(self._item_ids)))
        return judge(scores, histories, targets, protocol.exclude_history, users).ranks

    def _known(self, history: Sequence[object], row: int) -> tuple[NDArray[np.int64], str]:
        is_list = isinstance(history, Sequence | np.ndarray) and not isinstance(history, str | bytes)
        if not is_list or not all(_may_be_an_id(item) for item in history):
            raise RequestError(f"history {row}: expected a list of item ids, got {history!r}")
        if not len(history):
            raise RequestError(f"history {row} is empty: give at least one item id")
        numbers = np.array([self._number_of(item) for item in history], dtype=np.int64)
        unknown = [str(item) for item, number in zip(history, numbers, strict=True) if not number]
        if not numbers.any():
            raise RequestError(f"history {row}: the catalogue has none of the items {_shorten(unknown)}")
        return _known_items(numbers), f"not in the catalogue, left out: {_shorten(unknown)}" if unknown else ""

    def _number_of(self, item: object) -> int:
        """1..N, 0 where the catalogue lacks the item."""
        return self._number.get(str(item).strip(), 0) or self._number.get(canonical_id(item), 0)

    def _answer(self, items: NDArray[np.int64], scores: NDArray[np.float32], note: str, k: int) -> Answer:
        there = items > 0  # fewer than k items may be candidates
        if not there.all():
            shortage = f"only {there.sum()} of {k} items are left"
            note = f"{note}; {shortage}" if note else shortage
        recommended = []
        for number, score in zip(items[there].tolist(), scores[there].tolist(), strict=True):
            recommended.append(Recommended(self._item_ids[number - 1], self._titles[number - 1], score))
        return Answer(recommended, note)


def split_ids(text: str) -> list[str]:
    """Item ids between commas; one that holds a comma itself stands in double quotes, as in CSV.

    Raises:
        RequestError: one id is longer than CSV allows.
    """
    try:
        rows = list(csv.reader(text.splitlines(), skipinitialspace=True))
    except csv.Error as error:
        raise RequestError(f"a history is item ids between commas: {error}") from error
    return [item.strip() for row in rows for item in row if item.strip()]


def in_catalog(scores: Scores, own_numbers: NDArray[np.int64], history_length: int) -> Scores:
    """A model's scores as those of another catalogue's items: -inf for each item that the model does not know.

    Unknown items are left out of the histories. A user without any known item gets -inf for every item.

    Args:
        scores: of the model, over its own items 1..M.
        own_numbers: (N + 1,), the model's number of each item of the catalogue, 0 where it does not know the item.
        history_length: T, the latest known items that the model may see.
    """
    columns, unknown = torch.from_numpy(own_numbers), torch.from_numpy(own_numbers == 0)

    def translated(histories: Sequence[NDArray[np.int64]]) -> Tensor:
        known = [_known_items(own_numbers[history])[-history_length:] for history in histories]
        users = [user for user, history in enumerate(known) if len(history)]
        catalog_scores = torch.full((len(histories), len(own_numbers)), -torch.inf)  # (b, N + 1)
        if users:
            own_scores = scores([known[user] for user in users]).float().cpu()  # (u, M + 1)
            catalog_scores[users] = own_scores[:, columns].masked_fill(unknown, -torch.inf)
        return catalog_scores

    return translated


def _may_be_an_id(value: object) -> bool:
    return isinstance(value, str | int | float | np.integer | np.floating) and not isinstance(value, bool)


def _known_items(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    return numbers[numbers > 0]


def _shorten(items: Sequence[str], shown: int = 5) -> str:
    rest = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(repr(str(item)) for item in items[:shown]) + rest
