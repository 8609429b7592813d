"""Latent semantic analysis: TF-IDF of all text columns, then a truncated SVD."""

from collections.abc import Sequence

import numpy as np

from mmesid.artifacts.values import Embedding
from mmesid.errors import DataError

MAX_TERMS = 50_000


def encode(texts: Sequence[str], dimension: int, seed: int) -> Embedding:
    """Unit-length text embedding of every item that has a text with at least one word.

    Terms are words and pairs of words, with sublinear frequency (Deerwester et al. 1990). Where the texts hold fewer
    terms or items than `dimension`, the embedding is narrower.

    Args:
        texts: of item 1..N; empty where the item has none.
        dimension: D, at most.
        seed: of the randomised SVD.

    Raises:
        DataError: no text holds a word.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    worded = [place for place, text in enumerate(texts) if text]
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, max_features=MAX_TERMS, token_pattern=r"(?u)\b\w+\b", dtype=np.float32
    )
    try:
        terms = vectorizer.fit_transform([texts[place] for place in worded])  # (n, terms), sparse
    except ValueError:
        raise DataError("no item's text holds a word; set encode_content.text to none") from None
    width = min(dimension, min(terms.shape) - 1)
    if width < 1:
        raise DataError(f"lsa needs at least 2 items with text and 2 different words, it found {terms.shape}")
    known = np.asarray(terms.getnnz(axis=1) > 0)
    reduced = normalize(TruncatedSVD(width, random_state=seed).fit_transform(terms)).astype(np.float32)
    present = np.zeros(len(texts) + 1, dtype=np.bool_)
    present[np.asarray(worded)[known] + 1] = True
    matrix = np.zeros((len(texts) + 1, width), dtype=np.float32)
    matrix[present] = reduced[known]
    return Embedding(matrix, present)
