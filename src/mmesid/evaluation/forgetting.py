"""Catastrophic forgetting: how much of the order of distances the semantic-ID embeddings keep."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.values import Embedding, SemanticIds, Sequences

MIN_HISTORY = 3  # present history items below which a user has no order worth judging
DECIMALS = 9  # similarities nearer than this are ties: equal codes must tie, whatever the order of summation

Tables = Mapping[str, NDArray[np.floating]]  # code tables by modality, each (Q, K, d)


def forgetting(
    embeddings: Mapping[str, Embedding],
    ids: SemanticIds,
    tables: Mapping[str, Tables],
    sequences: Sequences,
    max_users: int,
    seed: int,
) -> dict[str, dict[str, float | None]]:
    """How much of the order each set of code tables keeps, over the test users.

    Args:
        embeddings: the original ones, by modality.
        ids: whose codes look the tables up.
        tables: by a name for the set, like `tau_init`; a set may lack modalities.
        sequences: users and items.
        max_users: see `order_kept`.
        seed: see `order_kept`.

    Returns:
        Kendall's tau by modality and name; None where nobody has three earlier items with the modality.
    """
    histories, targets = sequences.history("test"), sequences.target("test")
    taus: dict[str, dict[str, float | None]] = {}
    for name, by_modality in tables.items():
        for modality, table in by_modality.items():
            coded, original = code_embeddings(ids.codes[modality], table), embeddings[modality]
            tau = order_kept(original.matrix, coded, original.present, histories, targets, max_users, seed)
            taus.setdefault(modality, {})[name] = None if np.isnan(tau) else tau
    return taus


def order_kept(
    original: NDArray[np.floating],
    coded: NDArray[np.floating],
    present: NDArray[np.bool_],
    histories: Sequence[NDArray[np.int64]],
    targets: NDArray[np.int64],
    max_users: int,
    seed: int,
) -> float:
    """Kendall's tau-b between history items' similarities to the target before and after coding, averaged over users.

    The order measured by Wang et al. (CIKM 2025), whose percentages are tau x 100: 1 where the whole order is kept, 0
    by chance, -1 where it is reversed. Similarity is the cosine. Repeated items count once; the target itself and
    items without this modality do not count; users with fewer than 3 items left, or whose original similarities are
    all equal, are passed over. Coded similarities that are all equal keep no order: 0.

    Args:
        original: (N + 1, D).
        coded: (N + 1, d), see `code_embeddings`.
        present: (N + 1,), which items have this modality.
        histories: item ids of each user, oldest first.
        targets: (B,), the item each history is compared with.
        max_users: average over a random sample of this many users where there are more.
        seed: of that sample.

    Returns:
        The mean tau, nan where no user can be judged.
    """
    before, after = _unit_rows(original), _unit_rows(coded)
    taus: list[float] = []
    for user in np.random.default_rng(seed).permutation(len(targets)):
        target = targets[user]
        items = np.unique(histories[user])
        items = items[present[items] & (items != target)]
        if not present[target] or len(items) < MIN_HISTORY:
            continue
        similarities = (np.round(unit[items] @ unit[target], DECIMALS) for unit in (before, after))
        tau = kendall_tau(*similarities)
        if tau is not None:
            taus.append(tau)
        if len(taus) == max_users:
            break
    return float(np.mean(taus)) if taus else float("nan")


def kendall_tau(original: NDArray[np.float64], coded: NDArray[np.float64]) -> float | None:
    """Kendall's tau-b, (concordant - discordant) / sqrt(pairs untied in one x pairs untied in the other).

    Args:
        original, coded: (n,). Time and memory are O(n^2), which beats sorting for histories.

    Returns:
        None where all of `original` ties, 0 where only all of `coded` does.
    """
    before = np.sign(original[:, None] - original)  # (n, n)
    after = np.sign(coded[:, None] - coded)
    untied_before, untied_after = np.count_nonzero(before), np.count_nonzero(after)
    if not untied_before:
        return None
    if not untied_after:
        return 0.0
    return float(np.vdot(before, after) / np.sqrt(float(untied_before) * float(untied_after)))


def code_embeddings(codes: NDArray[np.int64], tables: NDArray[np.floating]) -> NDArray[np.float64]:
    """The sum of each item's code embeddings: codes (N + 1, Q) and tables (Q, K, d) to (N + 1, d)."""
    embeddings: NDArray[np.float64] = tables[np.arange(len(tables)), codes].sum(axis=1, dtype=np.float64)
    return embeddings


def _unit_rows(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows of length 1; a zero row stays zero."""
    wide = matrix.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: NDArray[np.float64] = wide / np.where(norms > 0, norms, 1)
    return unit
