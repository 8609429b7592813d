"""The packaged MiniLM gives the vectors that it gives elsewhere; skipped where it is not installed.

`minilm_reference.json` holds ten texts and their vectors, made without this project: transformers' `BertModel` in
float32, one text at a time, the mean over its tokens, brought to length 1, rounded to four places.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmesid.artifacts.shards import Shards
from tests.encoders.test_text_model import encode, settings
from tests.logs import silent

pytestmark = pytest.mark.nightly
REFERENCE = json.loads((Path(__file__).parent / "minilm_reference.json").read_text(encoding="utf-8"))
CATALOGUES = os.environ.get("MMESID_CATALOGUES", "")  # a folder with real catalogues, which are no part of the project


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_ten_texts_have_the_reference_vectors(real_weights: Callable[[str], Path], tmp_path: Path, dtype: str) -> None:
    real_weights("minilm")
    texts = [row["text"] for row in REFERENCE]
    found, made = encode(texts, settings("minilm", max_tokens=256, dtype=dtype), "cpu", silent, Shards(tmp_path))
    wanted = np.array([row["vector"] for row in REFERENCE])
    cosines = (found.matrix[1:] * wanted).sum(1) / np.linalg.norm(wanted, axis=1)
    assert cosines.min() > (0.99999 if dtype == "float32" else 0.999)
    assert (made["model"], made["revision"], made["pooling"], made["normalize"]) == ("minilm", "0.1.2", "mean", True)


@pytest.mark.realdata
@pytest.mark.skipif(not CATALOGUES, reason="MMESID_CATALOGUES names no folder with real catalogues")
def test_a_published_embedding_of_beauty_is_met(real_weights: Callable[[str], Path], tmp_path: Path) -> None:
    """Its texts are composed otherwise than ours: title, the word Brand, categories, 128 tokens; 600 evenly drawn."""
    real_weights("minilm")
    folder = Path(CATALOGUES) / "beauty"
    items = pd.read_parquet(folder / "items.parquet").set_index("item_id")
    published = np.load(folder / "embeddings" / "text_minilm_384.npz")
    drawn = np.linspace(0, len(published["item_id"]) - 1, 600).astype(int)
    rows = items.loc[published["item_id"][drawn]].fillna({"brand": ""})
    texts = [
        ". ".join([title, *([f"Brand: {brand}"] if brand else []), categories])
        for title, brand, categories in zip(rows["title"], rows["brand"], rows["categories"], strict=True)
    ]
    started = time.monotonic()
    found = encode(texts, settings("minilm", max_tokens=128, batch_tokens=2048), "cpu", silent, Shards(tmp_path))[0]
    print(f"{len(texts) / (time.monotonic() - started):.0f} texts a second")
    wanted = published["embedding"][drawn].astype(np.float32)
    assert (found.matrix[1:] * wanted).sum(1).min() > 0.999
