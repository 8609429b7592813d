"""Rows of norm 1 by which items are compared: principal components of an embedding, and sums of code embeddings."""

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.values import CONTENT, Embedding, SemanticIds

POWER = 0.5  # of the singular values: the first components tell less than they weigh
CHUNK = 65_536  # rows held in double precision at a time
_NEGLIGIBLE = 1e-10  # share of the largest eigenvalue below which a component is noise


def content_rows(embeddings: dict[str, Embedding], ids: SemanticIds, dimension: int) -> dict[str, NDArray[np.float16]]:
    """Tables of the content modalities that a dataset has: `text`, `image`, `text_codes`, `image_codes`.

    Args:
        embeddings: by modality.
        ids: semantic IDs of the tokenizer.
        dimension: principal components of an embedding, at most.

    Returns:
        Each (N + 1, D), rows of norm 1 in half precision; zeros for padding and where an item lacks the content.
    """
    rows = {m: embedding_rows(embeddings[m], dimension) for m in CONTENT if m in embeddings}
    codes = {f"{m}_codes": code_rows(ids.codes[m], ids.codebooks[m], ids.present[m]) for m in CONTENT if m in ids.codes}
    return rows | codes


def embedding_rows(embedding: Embedding, dimension: int) -> NDArray[np.float16]:
    """U S^.5 of the centered embeddings' singular value decomposition U S V^T, its largest components, rows of norm 1.

    Args:
        embedding: of one modality.
        dimension: components, at most.
    """
    there = np.flatnonzero(embedding.present)
    mean, covariance = _moments(embedding.matrix, there)
    eigenvalues, vectors = np.linalg.eigh(covariance)  # ascending; the squares of S
    strong = np.flatnonzero(eigenvalues > _NEGLIGIBLE * max(eigenvalues[-1], 0))[-dimension:]
    project = vectors[:, strong] * eigenvalues[strong] ** ((POWER - 1) / 2)  # X V S^-1 = U
    rows = np.zeros((len(embedding.matrix), max(len(strong), 1)), dtype=np.float16)
    for start in range(0, len(there) if len(strong) else 0, CHUNK):
        part = there[start : start + CHUNK]
        rows[part] = _unit((embedding.matrix[part] - mean) @ project)
    return rows


def code_rows(
    codes: NDArray[np.int64], codebooks: NDArray[np.float32], present: NDArray[np.bool_]
) -> NDArray[np.float16]:
    """The sum of an item's code embeddings, centered over the items that are present, rows of norm 1.

    Args:
        codes: (N + 1, Q).
        codebooks: (Q, K, d).
        present: (N + 1,).
    """
    rows = np.zeros((len(codes), codebooks.shape[2]), dtype=np.float32)
    for level, book in enumerate(codebooks):
        rows += book[codes[:, level]]
    rows[~present] = 0
    rows[present] = _unit(rows[present] - rows[present].mean(axis=0, dtype=np.float64)) if present.any() else 0
    return rows.astype(np.float16)


def _moments(matrix: NDArray[np.float32], there: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (D,) and scatter (D, D) of the rows that are there."""
    width = matrix.shape[1]
    mean, scatter = np.zeros(width), np.zeros((width, width))
    parts = [there[start : start + CHUNK] for start in range(0, len(there), CHUNK)]
    for part in parts:
        mean += matrix[part].sum(axis=0, dtype=np.float64) / len(there)
    for part in parts:
        centered = matrix[part] - mean
        scatter += centered.T @ centered
    return mean, scatter


def _unit(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rows of norm 1; a row without a direction stays zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 1e-12 * norms.max(initial=0), norms, np.inf))
