"""A catalogue of planted clusters, and settings small enough for seconds."""

from collections.abc import Callable

import numpy as np
import pytest

from mmesid.artifacts.values import Embedding
from mmesid.config import Tokenize, load

N_ITEMS = 96
WIDTHS = {"collaborative": 8, "text": 12, "image": 10}
CLUSTERS = 6


@pytest.fixture
def settings() -> Tokenize:
    return load("sample").tokenize.model_copy(
        update={
            "levels": 3,
            "codes": 8,
            "dimension": 6,
            "hidden": [16],
            "batch_size": 48,
            "epochs": 12,
            "learning_rate": 0.003,
        }
    )


@pytest.fixture
def clusters() -> np.ndarray:
    """The planted cluster of each item, (N,)."""
    return np.arange(N_ITEMS) % CLUSTERS


@pytest.fixture
def embeddings(clusters: np.ndarray) -> dict[str, Embedding]:
    """Three modalities of the same clusters; some items lack a text, some a picture."""
    return planted(clusters)


def planted(clusters: np.ndarray) -> dict[str, Embedding]:
    draw = np.random.default_rng(0)
    found = {}
    for modality, width in WIDTHS.items():
        centres = 4 * draw.standard_normal((CLUSTERS, width))
        matrix = np.zeros((N_ITEMS + 1, width), np.float32)
        matrix[1:] = centres[clusters] + 0.3 * draw.standard_normal((N_ITEMS, width))
        present = draw.random(N_ITEMS + 1) > (0.0 if modality == "collaborative" else 0.15)
        present[0] = False
        found[modality] = Embedding(matrix * present[:, None], present)
    return found


@pytest.fixture
def silent() -> Callable[[dict[str, float], int], None]:
    return lambda metrics, step: None
