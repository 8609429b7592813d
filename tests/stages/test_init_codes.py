"""What the stage says of items that the recommender cannot tell apart."""

import numpy as np
import pytest

from mmesid.stages import init_codes


def test_items_that_lack_all_content_are_warned_of_where_they_are_many(capsys: pytest.CaptureFixture[str]) -> None:
    text, image = np.arange(20) > 2, np.arange(20) == 0
    init_codes._warn_of_bare_items([text, image])
    assert not capsys.readouterr().err  # 2 of 20
    init_codes._warn_of_bare_items([text])
    assert "3 of 20 items have nothing that is encoded" in capsys.readouterr().err
