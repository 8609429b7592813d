"""Output of `prepare`: sequences, items, and apart from both their pictures, which hardly any stage needs."""

import numpy as np
import pandas as pd

from mmesid.artifacts.files import count_rows, load_frame, save_frame
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Prepared, Sequences

_FOLDER = "prepare"
_SEQUENCES, _ITEMS, _PICTURES = "sequences.parquet", "items.parquet", "pictures.parquet"


def save_prepared(store: Store, prepared: Prepared) -> None:
    """Write all three."""
    folder, sequences = store.folder(_FOLDER), prepared.sequences
    frame = pd.DataFrame({"user_id": sequences.user_ids, "items": [s.tolist() for s in sequences.items]})
    save_frame(folder / _SEQUENCES, frame)
    save_frame(folder / _ITEMS, prepared.items)
    save_frame(folder / _PICTURES, pd.DataFrame({"image": pd.Series(prepared.pictures, dtype=object)}))


def load_sequences(store: Store) -> Sequences:
    """Users and their items."""
    folder = store.folder(_FOLDER)
    frame = load_frame(folder / _SEQUENCES)
    items = [np.array(sequence, dtype=np.int64) for sequence in frame["items"]]  # the file's own are read-only
    return Sequences(frame["user_id"].astype(str).to_list(), items, count_rows(folder / _ITEMS))


def load_items(store: Store) -> pd.DataFrame:
    """Ids and texts of the items 1..N, in that order."""
    return load_frame(store.folder(_FOLDER) / _ITEMS)


def load_pictures(store: Store) -> list[bytes | None]:
    """The picture file of each item 1..N, None where it has none."""
    pictures = load_frame(store.folder(_FOLDER) / _PICTURES)["image"]
    return [picture if isinstance(picture, bytes) else None for picture in pictures]
