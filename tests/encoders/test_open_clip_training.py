import numpy as np
import pytest
import torch

from mmesid.artifacts.items import texts as texts_of
from mmesid.config import OpenClip
from mmesid.encoders import open_clip_encoder, open_clip_training
from mmesid.errors import DataError
from tests.logs import silent

pytestmark = pytest.mark.pipeline

SETTINGS = OpenClip(
    model="embedded",
    pretrained=None,
    dimension=32,
    image_size=16,
    context_length=24,
    learning_rate=2e-3,
    batch_size=50,
    epochs=35,
)


@pytest.fixture(scope="module")
def encoded(toy):
    texts, pictures = texts_of(toy.items), toy.pictures
    towers = open_clip_training.train_embedded(texts, pictures, SETTINGS, 0, "cpu", silent)
    text = open_clip_encoder.encode_texts(towers, texts, "cpu", silent)
    return text, open_clip_encoder.encode_pictures(towers, pictures, "cpu", silent)


def probe(matrix: np.ndarray, values: np.ndarray) -> float:
    """Accuracy of a linear classifier on items it has not seen."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    return float(cross_val_score(LogisticRegression(C=10, max_iter=500), matrix, values, cv=3).mean())


def test_a_picture_finds_texts_that_fit_it(encoded, toy):
    text, image = encoded
    both = text.present & image.present
    nearest = (image.matrix[both] @ text.matrix[both].T).argmax(axis=1)
    shared = toy.shared[both[1:]]
    assert (shared[nearest] == shared).mean() > 0.2  # chance 1 / 16


def test_what_only_the_picture_shows_survives_in_its_embedding(encoded, toy):
    _, image = encoded
    assert probe(image.matrix[image.present], toy.frame[image.present[1:]]) > 0.8  # chance 1 / 3


def test_what_only_the_text_shows_survives_in_its_embedding(encoded, toy):
    text, _ = encoded
    assert probe(text.matrix[text.present], toy.material[text.present[1:]]) > 0.8  # chance 1 / 3


def test_items_that_lack_a_modality_are_masked(encoded):
    text, image = encoded
    assert text.present.sum() == image.present.sum() == 199
    assert not image.matrix[1].any()
    assert not text.matrix[2].any()


def test_the_same_seed_gives_the_same_towers(toy):
    short = SETTINGS.model_copy(update={"epochs": 1})
    texts, pictures = texts_of(toy.items[:60]), toy.pictures[:60]
    first, again = (open_clip_training.train_embedded(texts, pictures, short, 7, "cpu", silent) for _ in range(2))
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])


def test_the_narrowed_vocabulary_keeps_padding_lowest_and_the_end_token_highest():
    texts = ["oak lamp", "a much longer text about an oak chair"]
    vocabulary = open_clip_training._vocabulary(texts, 48)
    tokens = vocabulary([*texts, "zebra"])
    assert tokens.shape == (3, vocabulary.context_length)
    assert vocabulary.context_length < 48
    assert (tokens.max(dim=1).values == len(vocabulary.tokens) - 1).all()
    assert tokens[0].tolist().count(0) > 0
    assert tokens[2, 1] == 0  # a word that the catalogue does not use


def test_too_few_pairs_are_a_clear_error(toy):
    texts, pictures = texts_of(toy.items), toy.pictures
    few = [*pictures[:30], *[None] * 170]
    with pytest.raises(DataError, match=r"needs 32, it found 28; set encode_content\.text to lsa"):
        open_clip_training.train_embedded(texts, few, SETTINGS, 0, "cpu", silent)


@pytest.mark.parametrize("epochs", [1, 9, 10])
def test_any_number_of_steps_is_trained(toy, epochs):
    """Nine steps, of which a tenth less one is a warm-up of none, once divided by zero."""
    steps: list[int] = []
    settings = SETTINGS.model_copy(update={"epochs": epochs, "batch_size": 10_000})
    open_clip_training.train_embedded(
        texts_of(toy.items), toy.pictures, settings, 0, "cpu", lambda metrics, step: steps.append(step)
    )
    assert steps == list(range(1, epochs + 1))
