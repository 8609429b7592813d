"""A small recipe and a small folder of files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mmesid.data.recipe import Recipe

SAMPLE = Path(__file__).parents[2] / "sources" / "sample"
Edit = Callable[[dict], None]


@pytest.fixture
def recipe_with() -> Callable[..., Recipe]:
    """The bundled recipe at a small size, with top-level keys replaced."""

    def make(**changes: object) -> Recipe:
        content = yaml.safe_load((SAMPLE / "recipe.yaml").read_text(encoding="utf-8"))
        return Recipe.model_validate({**content, "users": 120, "items": 60, **changes})

    return make


@pytest.fixture
def recipe_file(tmp_path: Path) -> Callable[[Edit], Path]:
    """Writes the bundled recipe, edited, into a source's folder and gives the folder."""

    def write(edit: Edit) -> Path:
        content = yaml.safe_load((SAMPLE / "recipe.yaml").read_text(encoding="utf-8"))
        edit(content)
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good catalogue: 6 users who each take 6 of 8 items, texts, pictures (not decodable, which reading ignores)."""
    source = tmp_path / "shop"
    (source / "images").mkdir(parents=True)
    (source / "embeddings").mkdir()
    items = [f"i{number}" for number in range(8)]
    rows = [(f"u{user}", items[(user + step) % 8], 100 * step) for step in range(6) for user in range(6)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(source / "interactions.csv", index=False)
    table = pd.DataFrame({"item_id": items, "brand": ["Acme", None] * 4, "title": [f"Thing {item}" for item in items]})
    table["image"] = [f"{item}.jpg" for item in items]
    table.to_csv(source / "items.csv", index=False)
    for item in items:
        (source / "images" / f"{item}.jpg").write_bytes(b"\xff\xd8" + item.encode())
    matrix = np.arange(24, dtype=np.float16).reshape(8, 3)
    np.savez(source / "embeddings" / "text_tiny.npz", item_id=np.array(items), embedding=matrix)
    return source
