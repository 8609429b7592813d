"""From what the models made of each user to the public contract `metrics.json`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmesid.artifacts.values import SPLITS, Sequences, Split
from mmesid.config import Evaluate
from mmesid.evaluation import lists
from mmesid.evaluation.metrics import per_user, summarize
from mmesid.evaluation.ranking import Judged, checkpoint_users
from mmesid.evaluation.slices import slices
from mmesid.evaluation.statistics import confidence_interval, paired_bootstrap
from mmesid.models import LIST_METRICS, MAIN_METRIC, MAIN_MODEL, RANK_METRICS, TESTED_METRICS

LIST_LENGTH = max(int(name.partition("_at_")[2]) for name in LIST_METRICS)  # items that the list metrics look at
DECIMALS = 6  # of reported numbers: the noise of the last bits changes no file

ByModel = Mapping[str, Judged]


def data_summary(sequences: Sequences, tied: float) -> dict[str, float]:
    """Users, items, interactions, the share of the user-item matrix that is empty, and the share of ties.

    Args:
        sequences: of the dataset.
        tied: share of interactions that share user and time with another one.
    """
    return {
        "users": len(sequences.items),
        "items": sequences.n_items,
        "interactions": sum(len(items) for items in sequences.items),
        "sparsity": sequences.sparsity(),
        "tied": tied,
    }


def split_summary(judged: ByModel, sequences: Sequences, split: Split, settings: Evaluate, seed: int) -> dict[str, Any]:
    """Metrics of every model with 95 % intervals, and the main model's paired difference to each other one.

    Those of validation are of the promotion gate's half of the users, on whom nothing was fitted or selected; the other
    half chose the checkpoints and the weights of late fusion. `users` says how many there are.

    Args:
        judged: ranks and top lists by model, of all users.
        sequences: whose training part says how popular an item is.
        split: that was judged.
        settings: the `evaluate` section.
        seed: of the bootstrap.
    """
    frequency = sequences.train_frequency()
    users = reported_users(sequences, split)
    summary: dict[str, Any] = {"users": len(users)}
    values = {}
    for model, every in judged.items():
        ranks, best = every.ranks[users], every.lists[users]
        values[model] = per_user(ranks, TESTED_METRICS)
        summary[model] = summarize(ranks, RANK_METRICS) | lists.summarize(best, frequency, LIST_METRICS)
        summary[model]["ci95"] = {
            name: list(confidence_interval(values[model][name], settings.bootstrap, seed)) for name in TESTED_METRICS
        }
    main = values[MAIN_MODEL][MAIN_METRIC]
    summary[MAIN_MODEL]["vs"] = {
        other: paired_bootstrap(main, values[other][MAIN_METRIC], settings.bootstrap, seed)._asdict()
        for other in judged
        if other != MAIN_MODEL
    }
    return summary


def reported_users(sequences: Sequences, split: Split) -> NDArray[np.int64]:
    """Positions of the users whose metrics are reported: all of test, the gate's half of validation."""
    every = np.arange(len(sequences.items))
    return every if split == "test" else every[~checkpoint_users(sequences.user_ids)]


def without_choice(sequences: Sequences, split: Split) -> int:
    """Users who have had every item but the target: once their history is excluded, any model ranks it first."""
    pairs = zip(sequences.history(split), sequences.target(split), strict=True)
    return sum(len({*history.tolist(), int(target)}) == sequences.n_items for history, target in pairs)


def repeated_targets(sequences: Sequences, split: Split) -> int:
    """Users whose target is an item of their history: a candidate here, and in no list that excludes the history."""
    pairs = zip(sequences.history(split), sequences.target(split), strict=True)
    return sum(bool((history == target).any()) for history, target in pairs)


def slice_summary(
    judged: ByModel, sequences: Sequences, split: Split, settings: Evaluate
) -> dict[str, list[dict[str, Any]]]:
    """nDCG@10 by how often the target was taken in training (0: never) and by the length of the history."""
    compared = {model: every.ranks for model, every in judged.items()}
    frequency = sequences.train_frequency()[sequences.target(split)]
    length = np.array([len(history) for history in sequences.history(split)])
    return {
        "item_frequency": slices(compared, frequency, settings.frequency_buckets),
        "history_length": slices(compared, length, settings.length_buckets),
    }


def ranks_frame(judged: Mapping[Split, ByModel]) -> pd.DataFrame:
    """One row per split, model and user, as `artifacts.evaluate.save_ranks` writes it."""
    parts = []
    for split in SPLITS:
        for model, (ranks, _) in judged[split].items():
            parts.append(pd.DataFrame({"user": np.arange(len(ranks)), "split": split, "model": model, "rank": ranks}))
    return pd.concat(parts, ignore_index=True)


def rounded(tree: Any) -> Any:
    """Every fraction of nested mappings and lists to six decimal places."""
    if isinstance(tree, Mapping):
        return {name: rounded(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [rounded(value) for value in tree]
    return round(tree, DECIMALS) if isinstance(tree, float) else tree
