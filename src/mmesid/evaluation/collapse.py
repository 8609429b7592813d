"""Embedding collapse: how many dimensions of the backbone's space the item inputs occupy."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.01  # of the largest singular value: what lies below counts as collapsed


class Collapse(NamedTuple):
    """Spectrum of the centred item matrix and two summaries of it."""

    singular_values: NDArray[np.float64]  # (C,), descending
    effective_rank: float  # 1..C; 0 where all items are equal
    kept_dimensions: float  # share of the C dimensions, 0..1

    def summary(self) -> dict[str, float]:
        """The two summaries by name."""
        return {"effective_rank": self.effective_rank, "kept_dimensions": self.kept_dimensions}

    def shares(self) -> list[float]:
        """Singular values over the largest one; zeros where all are zero."""
        largest = self.singular_values[0] or 1.0
        return [float(value) for value in self.singular_values / largest]


def collapse(matrix: NDArray[np.floating]) -> Collapse:
    """Measure the collapse of item embeddings.

    effective rank = exp(-sum p log p), p = singular values / their sum (Roy & Vetterli, EUSIPCO 2007).
    kept dimensions = share of the C singular values above 1 % of the largest: a linear projection of a 64-d embedding
    into C dimensions keeps at most 64 / C.

    Args:
        matrix: (N, C), one row per item, without the padding row.
    """
    centred = matrix.astype(np.float64) - matrix.mean(axis=0, dtype=np.float64)
    squared = np.linalg.eigvalsh(centred.T @ centred)[::-1]  # (C,): the Gram form needs no (N, N) factor
    values = np.sqrt(np.clip(squared, 0, None))
    if values[0] <= np.finfo(np.float32).eps * max(float(np.abs(matrix).max()), np.finfo(np.float64).tiny):
        return Collapse(values, 0.0, 0.0)
    shares = values / values.sum()
    entropy = -float(np.sum(shares[shares > 0] * np.log(shares[shares > 0])))
    return Collapse(values, float(np.exp(entropy)), float(np.mean(values > THRESHOLD * values[0])))
