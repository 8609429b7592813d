"""A planted toy catalogue: some attributes show in both modalities, one only in the picture, one only in the text."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.encoders import tiny_text_models, tiny_vision_models

COLORS = {"red": (200, 40, 40), "green": (40, 170, 60), "blue": (50, 70, 200), "yellow": (220, 200, 50)}
PLACES = {"left": (2, 6), "right": (10, 6), "top": (6, 2), "bottom": (6, 10)}
FRAMES = ((255, 255, 255), (0, 0, 0), (120, 120, 120))
MATERIALS = ("wool", "oak", "glass")


class Toy(NamedTuple):
    """The items and the attribute values they were made from."""

    items: pd.DataFrame
    pictures: list[bytes | None]
    shared: np.ndarray  # color and place as one number below 16, in both modalities
    frame: np.ndarray  # only in the picture
    material: np.ndarray  # only in the text


def draw(color: str, place: str, frame: int) -> bytes:
    """A 16 x 16 picture: a colored square at a place inside a frame."""
    canvas = np.full((16, 16, 3), 150, dtype=np.uint8)
    canvas[:2] = canvas[-2:] = FRAMES[frame]
    canvas[:, :2] = canvas[:, -2:] = FRAMES[frame]
    left, top = PLACES[place]
    canvas[top : top + 4, left : left + 4] = COLORS[color]
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def toy() -> Toy:
    """200 items; the first lacks its picture, the second its text."""
    rng = np.random.default_rng(0)
    shared = rng.integers(len(COLORS) * len(PLACES), size=200)
    colors = np.array(list(COLORS))[shared // len(PLACES)]
    places = np.array(list(PLACES))[shared % len(PLACES)]
    frames, materials = rng.integers(len(FRAMES), size=200), rng.integers(len(MATERIALS), size=200)
    rows = [
        {
            "item_id": f"i{number}",
            "title": f"{color} thing",
            "description": f"a {MATERIALS[material]} piece for the {place}",
            "image_name": f"i{number}.png",
        }
        for number, (color, place, material) in enumerate(zip(colors, places, materials, strict=True))
    ]
    items = pd.DataFrame(rows)
    items.loc[0, "image_name"] = None
    items.loc[1, ["title", "description"]] = None
    pictures = [draw(*shown) for shown in zip(colors, places, frames, strict=True)]
    return Toy(items, [None, *pictures[1:]], shared, frames, materials)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small BERT, as transformers saves it: no file of sentence-transformers."""
    return tiny_text_models.bert(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture(scope="session")
def tiny_qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small Qwen3, saved as a language model; its tokenizer ends a text with a token."""
    return tiny_text_models.qwen(tmp_path_factory.mktemp("models") / "qwen")


@pytest.fixture(scope="session")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """A folder with a small XLM-R."""
    return tiny_text_models.roberta(tmp_path_factory.mktemp("models") / "roberta", tiny_bert)


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """A folder with a small T5."""
    return tiny_text_models.t5(tmp_path_factory.mktemp("models") / "t5", tiny_bert)


@pytest.fixture(scope="session")
def tiny_siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small SigLIP."""
    return tiny_vision_models.siglip(tmp_path_factory.mktemp("models") / "siglip")


@pytest.fixture(scope="session")
def tiny_llm2clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders with a small LLM2CLIP: its CLIP, and its language model."""
    return tiny_vision_models.llm2clip(tmp_path_factory.mktemp("models"))
