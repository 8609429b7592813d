"""From what the stages before have written to a dataset's late fusion: tables once, weights for each model."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.values import Embedding, Fusion, FusionRule, FusionTables, SemanticIds, Sequences
from mmesid.config import Fuse, Protocol
from mmesid.errors import ConfigError
from mmesid.evaluation.ranking import Scores, checkpoint_users
from mmesid.fusion.choices import Users, gather
from mmesid.fusion.content import content_rows
from mmesid.fusion.evidence import Held, available
from mmesid.fusion.fitting import fit
from mmesid.fusion.transitions import transitions


class Fitting(NamedTuple):
    """A fusion and how it was found."""

    fusion: Fusion
    users: int  # whose targets the weights were fitted on
    losses: dict[str, dict[str, float]]  # cross-entropy of each model, `before` and `after`


def build_tables(
    sequences: Sequences, embeddings: dict[str, Embedding], ids: SemanticIds, settings: Fuse
) -> FusionTables:
    """What evidence is computed from. Only the training part of the sequences counts.

    Args:
        sequences: of the dataset.
        embeddings: by modality.
        ids: semantic IDs of the tokenizer.
        settings: the `fuse` section.
    """
    memory = transitions(sequences.train(), sequences.n_items, settings.neighbors)
    content = content_rows(embeddings, ids, settings.dimension)
    used = {name: content[name] for name in sorted(set(content).intersection(settings.evidence))}
    return FusionTables(sequences.train_frequency(), memory, used)


def fuse(
    networks: Mapping[str, Scores | None],
    tables: FusionTables,
    sequences: Sequences,
    settings: Fuse,
    protocol: Protocol,
    seed: int,
    device: str = "cpu",
) -> Fitting:
    """Fit the weights of each model on validation targets of users that select checkpoints.

    Args:
        networks: scores by model, None for a model of evidence alone.
        tables: of the evidence.
        sequences: of the dataset.
        settings: the `fuse` section.
        protocol: how models are judged: what a user could have chosen, and how far back a history counts.
        seed: of the users and of sampled items.
        device: where evidence is computed.

    Raises:
        ConfigError: the dataset has no evidence of any kind that is named.
    """
    rule = FusionRule(protocol.history_length)
    held, kinds = Held(tables, rule, device), available(settings.evidence, tables)
    if not kinds:
        raise ConfigError(
            f"fuse.evidence names {', '.join(settings.evidence)}, and no item has such content; add popularity or "
            "transitions"
        )
    chosen = fitting_users(sequences.user_ids, settings.users, seed)
    histories = sequences.history("valid")
    users = Users([histories[user] for user in chosen], sequences.target("valid")[chosen])
    neural = {model: scores for model, scores in networks.items() if scores is not None}
    choices = gather(users, neural, held, kinds, settings.bins, protocol.exclude_history, settings.memory, seed)
    weights, losses = {}, {}
    for model, scores in networks.items():
        name = None if scores is None else model
        found = fit(choices, name, kinds, len(settings.bins), settings.ridge, settings.smoothing)
        weights[model], losses[model] = found.weights, {"before": found.loss_before, "after": found.loss}
    return Fitting(Fusion(tables, rule, list(settings.bins), weights), len(chosen), losses)


def merged(first: Fitting, other: Fitting) -> Fitting:
    """Both, fitted on the same users and tables; where items are sampled, neither changes the other's sample."""
    fusion = first.fusion._replace(weights={**first.fusion.weights, **other.fusion.weights})
    return first._replace(fusion=fusion, losses={**first.losses, **other.losses})


def fitting_users(user_ids: list[str], at_most: int, seed: int) -> NDArray[np.int64]:
    """Positions of users that select checkpoints, in ascending order; never one whom the promotion gate judges."""
    mine = np.flatnonzero(checkpoint_users(user_ids))
    return np.sort(np.random.default_rng(seed).permutation(mine)[:at_most])


def weights_summary(fusion: Fusion) -> dict[str, dict[str, float | dict[str, float]]]:
    """Weights by model and evidence: one number for the network, one by bin for the rest; `from_4` is 4 or more."""
    return {
        model: ({} if network is None else {"network": network})
        | {
            name: {f"from_{low}": weight for low, weight in zip(fusion.bins, row, strict=True)}
            for name, row in evidence.items()
        }
        for model, (network, evidence) in fusion.weights.items()
    }
