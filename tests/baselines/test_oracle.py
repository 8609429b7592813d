"""The oracle scores by the law that it is given, over the items that are left."""

import numpy as np
import pytest

from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Oracle, Prepared
from mmesid.baselines import oracle
from mmesid.config import Config


def test_scores_by_hand() -> None:
    # One factor. The law has items c, a, b; prepared are a (1) and b (2). Query of a 2, of b 3; key of a 5, of b 7;
    # lags 1 and .5, bias of a .1, of b .2. After a, b: wish = 1 * 3 + .5 * 2 = 4, so a: 4 * 5 + .1, b: 4 * 7 + .2.
    # After b alone: wish 3. After a, b, b: the third last does not count, wish = 3 + 1.5.
    law = Oracle(
        ["c", "a", "b"],
        np.array([[9], [2], [3]], dtype=np.float32),
        np.array([[9], [5], [7]], dtype=np.float32),
        np.array([1, 0.5], dtype=np.float32),
        np.array([9, 0.1, 0.2], dtype=np.float32),
    )
    found = oracle.oracle(law, ["a", "b"])([np.array([1, 2]), np.array([2]), np.array([1, 2, 2])])
    expected = [[20.1, 28.2], [15.1, 21.2], [22.6, 31.7]]
    np.testing.assert_allclose(found[:, 1:].numpy(), expected, rtol=1e-6)


def test_a_real_catalog_has_no_oracle(bare: Store, settings: Config, prepared: Prepared) -> None:
    assert oracle.scores(bare, settings, prepared.sequences) is None


def test_an_item_without_a_law_is_an_error() -> None:
    one = np.ones((1, 1), dtype=np.float32)
    with pytest.raises(KeyError):
        oracle.oracle(Oracle(["a"], one, one, one[0], one[0]), ["a", "b"])
