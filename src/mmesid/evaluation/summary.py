"""From ranks to the public contract `metrics.json`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmesid.artifacts.values import Sequences, Split
from mmesid.config import Evaluate
from mmesid.evaluation.metrics import per_user, summarize
from mmesid.evaluation.slices import slices
from mmesid.evaluation.statistics import confidence_interval, paired_bootstrap

SPLITS: tuple[Split, ...] = ("valid", "test")
_MODEL = "mme_sid"
_INTERVALS = ("ndcg_at_5", "ndcg_at_10")
_COMPARED = "ndcg_at_10"


def data_summary(sequences: Sequences) -> dict[str, float]:
    """Users, items, interactions and the share of the user-item matrix that is empty."""
    interactions = sum(len(items) for items in sequences.items)
    users, items = len(sequences.items), sequences.n_items
    return {
        "users": users,
        "items": items,
        "interactions": interactions,
        "sparsity": 1 - interactions / (users * items),
    }


def split_summary(ranks: Mapping[str, NDArray[np.int64]], settings: Evaluate, seed: int) -> dict[str, Any]:
    """Metrics of every model with 95 % intervals, and the model's paired difference to each other one.

    Args:
        ranks: rank of each user's target, (B,), by model.
        settings: the `evaluate` section.
        seed: of the bootstrap.
    """
    values = {model: per_user(found) for model, found in ranks.items()}
    summary: dict[str, Any] = {model: summarize(found) for model, found in ranks.items()}
    for model, metrics in values.items():
        summary[model]["ci95"] = {
            name: list(confidence_interval(metrics[name], settings.bootstrap, seed)) for name in _INTERVALS
        }
    summary[_MODEL]["vs"] = {
        other: paired_bootstrap(values[_MODEL][_COMPARED], values[other][_COMPARED], settings.bootstrap, seed)._asdict()
        for other in ranks
        if other != _MODEL
    }
    return summary


def test_slices(
    ranks: Mapping[str, NDArray[np.int64]], sequences: Sequences, settings: Evaluate
) -> dict[str, list[dict[str, Any]]]:
    """nDCG@10 by how often the target was taken in training (0: never) and by the length of the history."""
    compared = {model: ranks[model] for model in (_MODEL, "sasrec")}
    frequency = sequences.train_frequency()[sequences.target("test")]
    length = np.array([len(history) for history in sequences.history("test")])
    return {
        "item_frequency": slices(compared, frequency, settings.frequency_buckets),
        "history_length": slices(compared, length, settings.length_buckets),
    }


def ranks_frame(ranks: Mapping[Split, Mapping[str, NDArray[np.int64]]]) -> pd.DataFrame:
    """One row per split, model and user, as `artifacts.save_ranks` writes it."""
    return pd.concat(
        [
            pd.DataFrame({"user": np.arange(len(found)), "split": split, "model": model, "rank": found})
            for split, models in ranks.items()
            for model, found in models.items()
        ],
        ignore_index=True,
    )
