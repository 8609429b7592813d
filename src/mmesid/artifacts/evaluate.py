"""Output of `evaluate`."""

from typing import TYPE_CHECKING

import pandas as pd

from mmesid.artifacts.files import (
    load_frame,
    save_frame,
)
from mmesid.artifacts.store import Store

if TYPE_CHECKING:
    pass


def save_ranks(store: Store, stage: str, ranks: pd.DataFrame) -> None:
    """Rank of each user's target: user int64 (position in sequences), split, model, rank int64 (1 is best)."""
    save_frame(store.folder(stage) / "ranks.parquet", ranks)


def load_ranks(store: Store, stage: str) -> pd.DataFrame:
    """Ranks as written by `encode_collaborative` (SASRec) or `evaluate` (every model)."""
    return load_frame(store.folder(stage) / "ranks.parquet")
