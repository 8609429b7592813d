"""What the gate's decision is based on: ranks of its half of the validation users, slices, tokenizer diagnostics.

The champion ranks the same users again, on the current data and under the same protocol as the challenger.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.evaluate import load_metrics, load_ranks
from mmesid.artifacts.prepare import load_items, load_sequences
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Sequences
from mmesid.config import Config, Evaluate
from mmesid.evaluation.slices import slices
from mmesid.models import MAIN_MODEL
from mmesid.registry.gate import BASELINES, GateEvidence
from mmesid.registry.versions import load_version

DATA = ("prepare", "evaluate")  # stages whose output is evidence
_HERE = Path(__file__)
# Code that gathers and judges evidence: after a change of it, a challenger that failed is judged again.
CODE = (_HERE, _HERE.with_name("gate.py"), *sorted((_HERE.parents[1] / "evaluation").glob("*.py")))

Ranks = Mapping[str, NDArray[np.int64]]  # by model


def gather(config: Config, root: Path, champion: Any | None) -> GateEvidence:
    """Read the challenger's evidence, which `evaluate` wrote, and let the champion rank the same users.

    Args:
        config: parameters of the dataset as they are now; its `evaluate` stage is done.
        root: the project's folder.
        champion: a model version, None where there is none.
    """
    from mmesid.evaluation.ranking import checkpoint_users  # torch takes seconds, and a known decision needs none

    store = Store(config.dataset, root)
    sequences = load_sequences(store)
    users = np.flatnonzero(~checkpoint_users(sequences.user_ids))  # (G,) the gate's
    ranks = _ranks(store, users)
    return GateEvidence(
        challenger=ranks[MAIN_MODEL],
        baselines={name: ranks[name] for name in BASELINES if name in ranks},
        champion=None if champion is None else _champion_ranks(champion, store, sequences, users, config),
        slices=_slices(ranks, sequences, users, config.evaluate),
        tokenizer=load_metrics(store)["tokenizer"],
        n_items=sequences.n_items,
        codes=config.tokenize.codes,
    )


def evidence_digest(config: Config, root: Path) -> str:
    """Of all that `gather` and `decide` read, their code included, but for the champion and the challenger."""
    digest = hashlib.sha256(config.model_dump_json().encode())
    paths = list(CODE)
    for stage in DATA:
        folder = Store(config.dataset, root).folder(stage)
        paths += sorted(path for path in folder.rglob("*") if path.is_file())
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _ranks(store: Store, users: NDArray[np.int64]) -> Ranks:
    """(G,) ranks of the challenger and of each baseline that was evaluated."""
    frame = load_ranks(store)
    frame = frame[frame["split"] == "valid"].sort_values("user")
    by_model = {}
    for model in (MAIN_MODEL, *BASELINES):
        ranks = frame.loc[frame["model"] == model, "rank"].to_numpy(np.int64)  # (B,)
        if len(ranks):
            by_model[model] = ranks[users]
    return by_model


def _champion_ranks(
    champion: Any, store: Store, sequences: Sequences, users: NDArray[np.int64], config: Config
) -> NDArray[np.int64]:
    """(G,) from the champion's own files, on today's catalogue, histories and targets."""
    item_ids = load_items(store)["item_id"].astype(str).to_list()
    histories = sequences.history("valid")
    targets = sequences.target("valid")[users]
    return load_version(champion).rank(item_ids, [histories[user] for user in users], targets, config.protocol)


def _slices(
    ranks: Ranks, sequences: Sequences, users: NDArray[np.int64], settings: Evaluate
) -> dict[str, list[dict[str, Any]]]:
    frequency = sequences.train_frequency()[sequences.target("valid")]  # (B,)
    length = np.array([len(history) for history in sequences.history("valid")])  # (B,)
    return {
        "item_frequency": slices(ranks, frequency[users], settings.frequency_buckets),
        "history_length": slices(ranks, length[users], settings.length_buckets),
    }
