"""The typed values that pass between stages. Item matrices have N + 1 rows; row 0 is padding."""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

MODALITIES = ("collaborative", "text", "image")
CONTENT = ("text", "image")
Split = Literal["valid", "test"]
Curves = list[dict[str, float]]  # one entry per logged step: {"step": ..., metric: value}
SPLITS: tuple[Split, ...] = ("valid", "test")


class RawEmbedding(NamedTuple):
    """A precomputed embedding as its file holds it, not yet joined to the catalogue."""

    item_ids: NDArray[Any]  # (n,) str
    matrix: NDArray[np.float32]  # (n, D)

    def present(self) -> NDArray[np.bool_]:
        """Which rows say something, (n,): a vector of zeros alone stands for a missing one."""
        return np.asarray((self.matrix != 0).any(axis=1))


class Catalogue(NamedTuple):
    """A source in canonical form, nothing filtered.

    interactions: user_id str, item_id str, timestamp int64 (nanoseconds since 1970, or the source's own count where
        that is no time), and where each row came from: file str, row int64 from 1 in each file.
    items: item_id str, text columns str or null (title first), image bytes or null, image_name str or null, file, row;
        image_fault str or null, why a picture that is named was not found, where there are such.
    embeddings: named precomputed embeddings, by modality.
    notes: sentences on what the reader changed or doubts, for people.
    rejects: lines of files that could not be read, columns as in `validate`'s rejects; None where the source has none.
    """

    interactions: pd.DataFrame
    items: pd.DataFrame
    embeddings: dict[str, RawEmbedding]
    notes: tuple[str, ...] = ()
    rejects: pd.DataFrame | None = None


class Sequences(NamedTuple):
    """Users and their items in chronological order; leave-one-out: last = test, last but one = validation."""

    user_ids: list[str]
    items: list[NDArray[np.int64]]  # each (length,), values 1..N
    n_items: int

    def train(self) -> list[NDArray[np.int64]]:
        """The training part of each user: all but the last two items."""
        return [sequence[:-2] for sequence in self.items]

    def history(self, split: Split) -> list[NDArray[np.int64]]:
        """What is known before the split's target; the test history includes the validation item."""
        return [sequence[: -2 if split == "valid" else -1] for sequence in self.items]

    def target(self, split: Split) -> NDArray[np.int64]:
        """The item to be predicted, (B,)."""
        return np.array([sequence[-2 if split == "valid" else -1] for sequence in self.items], dtype=np.int64)

    def train_frequency(self) -> NDArray[np.int64]:
        """Training interactions of each item, (N + 1,); 0 for the padding row."""
        return np.bincount(np.concatenate(self.train()), minlength=self.n_items + 1).astype(np.int64)

    def sparsity(self) -> float:
        """Share of the user-item matrix that is empty; an item that a user takes again fills one cell."""
        filled = sum(len(np.unique(sequence)) for sequence in self.items)
        return 1 - filled / (len(self.items) * self.n_items)


class Prepared(NamedTuple):
    """Sequences and the items they are made of, in the order of the ids 1..N.

    items: columns as in Catalogue, without the picture and without where the row came from.
    pictures: the picture file of each item, None where it has none.
    """

    sequences: Sequences
    items: pd.DataFrame
    pictures: list[bytes | None]


class Embedding(NamedTuple):
    """One modality's item embedding; absent rows are zero and must never be used as data."""

    matrix: NDArray[np.float32]  # (N + 1, D)
    present: NDArray[np.bool_]  # (N + 1,)


class SemanticIds(NamedTuple):
    """Semantic IDs and the codebooks that give them meaning, by modality."""

    codes: dict[str, NDArray[np.int64]]  # each (N + 1, Q); 0 where absent
    codebooks: dict[str, NDArray[np.float32]]  # each (Q, K, d)
    present: dict[str, NDArray[np.bool_]]  # each (N + 1,)


class Oracle(NamedTuple):
    """The true law of a drawn catalogue: score(next | history) = sum_l lags[l] <query[h_-l], key[next]> + bias[next].

    Its softmax over the items not yet taken is the probability of the next item. Rows follow item_ids.
    """

    item_ids: list[str]
    query: NDArray[np.float32]  # (N, f)
    key: NDArray[np.float32]  # (N, f)
    lags: NDArray[np.float32]  # (L,), weight of the last item first
    bias: NDArray[np.float32]  # (N,)


class Transitions(NamedTuple):
    """The strongest neighbors of each item in the training histories, row by row of a sparse (N + 1, N + 1) matrix.

    The neighbors of item i stand at `starts[i]:starts[i + 1]`, in ascending order of their ids; row 0 is empty.
    """

    starts: NDArray[np.int64]  # (N + 2,)
    items: NDArray[np.int32]  # (E,), ids 1..N
    weights: NDArray[np.float32]  # (E,), positive


class FusionTables(NamedTuple):
    """What the evidence of late fusion is computed from, beside a user's history."""

    frequency: NDArray[np.int64]  # (N + 1,) training interactions of each item
    transitions: Transitions
    content: dict[str, NDArray[np.float16]]  # each (N + 1, D), rows of norm 1; zeros where an item lacks the content


class FusionRule(NamedTuple):
    """Constants with which a history becomes evidence; they are kept with the weights that were fitted under them."""

    history_length: int  # T, the latest items that count
    transition_decay: float = 0.65  # weight of an item for each newer one
    transition_scale: float = 0.001  # share of the transitions that counts as little
    content_decay: float = 0.9
    content_scale: float = 5.0


class FusionWeights(NamedTuple):
    """Fitted weights of one model; the network has one for all items, each evidence one per bin of frequency."""

    network: float | None  # None where there is no network
    evidence: dict[str, list[float]]


class Fusion(NamedTuple):
    """Late fusion of a dataset: tables, bins and, by model, weights."""

    tables: FusionTables
    rule: FusionRule
    bins: list[int]  # lower bounds of the training interactions, ascending from 0
    weights: dict[str, FusionWeights]


class Checkpoint(NamedTuple):
    """A recommender without its backbone and adapter: how it is built, and every other tensor."""

    config: dict[str, Any]
    weights: "dict[str, torch.Tensor]"
