"""A checkout to give commands to, and a catalogue to give them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def checkout(tmp_path: Path, project_copy: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder."""
    root = project_copy(tmp_path / "checkout")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """A folder in the `files` format: 30 users with 8 interactions each, 24 items, no pictures."""
    folder = tmp_path / "toys"
    folder.mkdir()
    draw = np.random.default_rng(0)
    rows = [(f"u{user}", f"i{item}", step) for user in range(30) for step, item in enumerate(draw.permutation(24)[:8])]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "interactions.csv", index=False)
    items = pd.DataFrame(
        {"item_id": [f"i{item}" for item in range(24)], "title": [f"toy {item}" for item in range(24)]}
    )
    items.to_csv(folder / "items.csv", index=False)
    return folder
