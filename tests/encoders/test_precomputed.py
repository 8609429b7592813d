import numpy as np
import pytest

from mmesid.artifacts.values import RawEmbedding
from mmesid.encoders import precomputed
from mmesid.errors import DataError

ITEMS = np.array(["a", "b", "c"], dtype=object)


def raw(*item_ids: str) -> RawEmbedding:
    matrix = np.arange(1, 2 * len(item_ids) + 1, dtype=np.float32).reshape(-1, 2)
    return RawEmbedding(np.array(item_ids, dtype=object), matrix)


def test_rows_follow_the_items_not_the_file():
    embedding = precomputed.join("text", ITEMS, raw("c", "a", "b"))
    np.testing.assert_array_equal(embedding.matrix, [[0, 0], [3, 4], [5, 6], [1, 2]])
    assert embedding.matrix.dtype == np.float32
    assert embedding.present.tolist() == [False, True, True, True]


def test_items_that_the_file_lacks_are_masked_and_its_other_items_ignored():
    embedding = precomputed.join("image", ITEMS, raw("x", "b"))
    assert embedding.present.tolist() == [False, False, True, False]
    np.testing.assert_array_equal(embedding.matrix, [[0, 0], [0, 0], [3, 4], [0, 0]])


@pytest.mark.parametrize(
    ("modality", "given", "message"),
    [
        ("text", None, r"encode_content.text is precomputed.*ingest.embeddings: \{text: NAME\}"),
        ("collaborative", None, r"encode_collaborative.encoder is precomputed"),
        ("text", raw("x", "y"), "none of the 3 items"),
        ("text", raw("a", "a"), "1 item ids twice"),
    ],
)
def test_an_embedding_that_cannot_be_joined_is_a_clear_error(modality, given, message):
    with pytest.raises(DataError, match=message):
        precomputed.join(modality, ITEMS, given)
