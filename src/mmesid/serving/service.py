"""Answers requests, and judges its own model on someone else's catalogue."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mmesid.errors import RequestError
from mmesid.evaluation.ranking import rank_targets
from mmesid.recommender.inference import Scorer
from mmesid.recommender.model import Recommender

BATCH_USERS = 256


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
    """A recommender that speaks in the catalogue's own item ids.

    Args:
        model: the recommender.
        item_ids: of the items 1..N, in that order.
        titles: likewise.
        exclude_history: whether the user's earlier items are no candidates, as the model was evaluated.
    """

    def __init__(
        self, model: Recommender, item_ids: Sequence[str], titles: Sequence[str], exclude_history: bool
    ) -> None:
        self.scorer = Scorer(model)
        self.exclude_history = exclude_history
        self._item_ids, self._titles = list(item_ids), list(titles)
        self._number = {item_id: number for number, item_id in enumerate(item_ids, start=1)}

    def recommend(self, histories: Sequence[Sequence[str]], k: int = 10) -> list[Answer]:
        """The k best items for each history.

        Only the last T items of a history count; an item may stand in it more than once. Unknown items are left out
        with a note. Where fewer than k items are candidates, the answer is shorter, with a note.

        Args:
            histories: item ids, oldest first.
            k: from 1 to N.

        Raises:
            RequestError: a history is empty or knows no item of the catalogue, or k is out of range.
        """
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= len(self._item_ids):
            raise RequestError(f"k must be a whole number from 1 to {len(self._item_ids)} (the catalogue), it is {k!r}")
        if not histories:
            return []
        known = [self._known(history, row) for row, history in enumerate(histories)]
        numbers = [numbers for numbers, _ in known]
        best = self.scorer.recommend(numbers, k, self.exclude_history, BATCH_USERS)
        return [
            self._answer(items, scores, note, k)
            for items, scores, (_, note) in zip(best.items, best.scores, known, strict=True)
        ]

    def rank(
        self,
        item_ids: Sequence[str],
        histories: Sequence[NDArray[np.int64]],
        targets: NDArray[np.int64],
        exclude_history: bool,
    ) -> NDArray[np.int64]:
        """Rank of each target in a catalogue that may have changed since this model was trained.

        Items that the model does not know score -inf: as targets they rank last, and they never push a known one down.

        Args:
            item_ids: of that catalogue's items 1..N, in that order.
            histories: ids 1..N of that catalogue, oldest first.
            targets: likewise, (B,).
            exclude_history: whether a user's earlier items are no candidates.

        Returns:
            (B,), 1 is best.
        """
        own = np.array([0, *(self._number.get(item_id, 0) for item_id in item_ids)])  # (N + 1,), 0 where unknown
        translated = [own[history] for history in histories]
        translated = [history[history > 0] for history in translated]
        ranks = np.empty(len(targets), dtype=np.int64)
        answerable = np.array([len(history) > 0 for history in translated], dtype=bool)
        columns, unknown = torch.from_numpy(own), torch.from_numpy(own == 0)
        users = np.flatnonzero(answerable)
        for part, scores in self.scorer.batches([translated[user] for user in users], BATCH_USERS):
            here = scores.cpu()[:, columns].masked_fill(unknown, -torch.inf)  # (b, N + 1)
            ranks[users[part]] = _ranks(here, users[part], histories, targets, exclude_history)
        silent = np.flatnonzero(~answerable)
        ranks[silent] = _ranks(
            torch.full((len(silent), len(own)), -torch.inf), silent, histories, targets, exclude_history
        )
        return ranks

    def _known(self, history: Sequence[str], row: int) -> tuple[NDArray[np.int64], str]:
        if isinstance(history, str) or not all(isinstance(item, str) for item in history):
            raise RequestError(f"history {row}: expected a list of item ids as text, {history!r} came")
        if not len(history):
            raise RequestError(f"history {row} is empty: give at least one item id")
        unknown = [item for item in history if item not in self._number]
        numbers = np.array([self._number[item] for item in history if item in self._number], dtype=np.int64)
        if not len(numbers):
            raise RequestError(f"history {row}: the catalogue has none of the items {_shorten(unknown)}")
        return numbers, f"not in the catalogue, left out: {_shorten(unknown)}" if unknown else ""

    def _answer(self, items: NDArray[np.int64], scores: NDArray[np.float32], note: str, k: int) -> Answer:
        found = items > 0
        if not found.all():
            note = "; ".join(part for part in (note, f"only {found.sum()} of {k} items are left") if part)
        places = (items[found] - 1).tolist()
        best = [
            Recommended(self._item_ids[place], self._titles[place], float(score))
            for place, score in zip(places, scores[found], strict=True)
        ]
        return Answer(best, note)


def _ranks(
    scores: torch.Tensor,
    users: NDArray[np.int64],
    histories: Sequence[NDArray[np.int64]],
    targets: NDArray[np.int64],
    exclude_history: bool,
) -> NDArray[np.int64]:
    chosen = [histories[user] for user in users]
    found: NDArray[np.int64] = rank_targets(scores, torch.from_numpy(targets[users]), chosen, exclude_history).numpy()
    return found


def _shorten(items: Sequence[str], shown: int = 5) -> str:
    rest = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(repr(str(item)) for item in items[:shown]) + rest
