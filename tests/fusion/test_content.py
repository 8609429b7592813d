"""Rows of norm 1, zeros where there is no content, whatever stands in the absent rows."""

import numpy as np
import pytest

from mmesid.artifacts.values import Embedding, SemanticIds
from mmesid.fusion import content
from mmesid.fusion.content import code_rows, content_rows, embedding_rows

Encoded = tuple[dict[str, Embedding], SemanticIds]
HALF = 1e-3  # half precision


def test_rows_are_the_singular_value_decompositions(encoded: Encoded) -> None:
    matrix, present = encoded[0]["text"]
    left, values, _ = np.linalg.svd(matrix[present] - matrix[present].mean(0), full_matrices=False)
    expected = left[:, :5] * values[:5] ** 0.5
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = embedding_rows(encoded[0]["text"], 5)[present].astype(np.float64)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=4 * HALF)


def test_codes_are_summed_and_centered(encoded: Encoded) -> None:
    codes, books, present = (part["text"] for part in encoded[1])
    sums = np.array([sum(books[level, code] for level, code in enumerate(row)) for row in codes])[present]
    expected = sums - sums.mean(0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(code_rows(codes, books, present)[present], expected, atol=HALF)


def test_what_stands_in_absent_rows_changes_nothing(encoded: Encoded, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, present = encoded[0]["text"]
    before = content_rows(*encoded, 8)
    changed = Embedding(np.where(present[:, None], matrix, 1e3).astype(np.float32), present)
    monkeypatch.setattr(content, "CHUNK", 7)
    after = content_rows({"text": changed}, encoded[1], 8)
    assert set(before) == set(after) == {"text", "text_codes"}
    for name, rows in before.items():
        similarities = rows.astype(np.float32) @ rows.T.astype(np.float32)
        np.testing.assert_allclose(similarities, after[name].astype(np.float32) @ after[name].T, atol=4 * HALF)
        assert not after[name][~present].any()
        np.testing.assert_allclose(np.linalg.norm(rows[present].astype(np.float32), axis=1), 1, atol=HALF)


def test_content_that_tells_nothing_apart_is_zero() -> None:
    present = np.array([False, True, True])
    same = embedding_rows(Embedding(np.ones((3, 4), dtype=np.float32), present), 2)
    none = embedding_rows(Embedding(np.zeros((3, 4), dtype=np.float32), np.zeros(3, dtype=np.bool_)), 2)
    codes = code_rows(np.zeros((3, 2), dtype=np.int64), np.ones((2, 5, 3), dtype=np.float32), present)
    assert not same.any()
    assert not none.any()
    assert not codes.any()
