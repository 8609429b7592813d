import numpy as np
import pytest

from mmesid.encoders import lsa
from mmesid.errors import DataError

TEXTS = ["red wool scarf", "red wool hat", "", "blue oak table", "blue oak chair", "?!", "gläserne Vase", "花 瓶"]


def test_items_without_words_are_masked_zeros():
    embedding = lsa.encode(TEXTS, 4, 0)
    assert embedding.matrix.shape == (9, 4)
    assert embedding.present.tolist() == [False, True, True, False, True, True, False, True, True]
    assert not embedding.matrix[~embedding.present].any()


def test_rows_have_unit_length_and_like_texts_lie_close():
    embedding = lsa.encode(TEXTS, 6, 0)
    np.testing.assert_allclose(np.linalg.norm(embedding.matrix[embedding.present], axis=1), 1, rtol=1e-5)
    scarf, hat, table = embedding.matrix[[1, 2, 4]]
    assert scarf @ hat > scarf @ table + 0.2


def test_the_same_seed_gives_the_same_embedding():
    np.testing.assert_array_equal(lsa.encode(TEXTS, 4, 1).matrix, lsa.encode(TEXTS, 4, 1).matrix)


def test_few_texts_give_a_narrower_embedding():
    assert lsa.encode(["one two", "two three"], 64, 0).matrix.shape == (3, 1)


@pytest.mark.parametrize("texts", [["?!", "..."], ["one"], ["a", ""]])
def test_texts_with_nothing_to_compare_are_a_clear_error(texts):
    with pytest.raises(DataError):
        lsa.encode(texts, 4, 0)
