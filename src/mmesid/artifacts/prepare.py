"""Output of `prepare`: sequences and items."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmesid.artifacts.files import (
    load_frame,
    save_frame,
)
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import (
    Prepared,
    Sequences,
)

if TYPE_CHECKING:
    pass


def save_prepared(store: Store, prepared: Prepared) -> None:
    """Output of `prepare`."""
    sequences = prepared.sequences
    frame = pd.DataFrame({"user_id": sequences.user_ids, "items": [s.tolist() for s in sequences.items]})
    save_frame(store.folder("prepare") / "sequences.parquet", frame)
    save_frame(store.folder("prepare") / "items.parquet", prepared.items)


def load_prepared(store: Store) -> Prepared:
    """Input of every stage after `prepare`."""
    items = load_frame(store.folder("prepare") / "items.parquet")
    return Prepared(load_sequences(store, len(items)), items)


def load_sequences(store: Store, n_items: int) -> Sequences:
    """The sequences alone, where pictures and texts are not needed."""
    frame = load_frame(store.folder("prepare") / "sequences.parquet")
    items = [np.asarray(sequence, dtype=np.int64) for sequence in frame["items"]]
    return Sequences(frame["user_id"].astype(str).to_list(), items, n_items)
