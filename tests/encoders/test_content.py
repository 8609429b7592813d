from typing import get_args

import numpy as np
import pandas as pd
import pytest

from mmesid.artifacts.shards import Shards
from mmesid.artifacts.values import RawEmbedding
from mmesid.config import EncodeContent, Llm2Clip, OpenClip, SentenceTransformers, VisionModel
from mmesid.encoders import content, open_clip_training
from mmesid.errors import DataError
from tests.logs import silent

CLIP = OpenClip(
    model="embedded",
    pretrained=None,
    dimension=8,
    image_size=16,
    context_length=16,
    learning_rate=1e-3,
    batch_size=50,
    epochs=1,
)
TEXT_MODEL = SentenceTransformers(
    model="named by the test",
    revision=None,
    trust_remote_code=False,
    prompt=None,
    pooling="auto",
    max_tokens=32,
    batch_tokens=256,
    dtype="float32",
)
VISION_MODEL = VisionModel(
    model="named by the test",
    revision=None,
    trust_remote_code=False,
    features="auto",
    batch_size=16,
    dtype="float32",
)


def settings(text: str, image: str, folders: dict[str, str]) -> EncodeContent:
    widths = {"lsa_dimension": 6, "pixels_dimension": 5}
    sections = {
        "open_clip": CLIP,
        "sentence_transformers": TEXT_MODEL.model_copy(update={"model": folders["bert"]}),
        "transformers": VISION_MODEL.model_copy(update={"model": folders["siglip"]}),
        "llm2clip": Llm2Clip(
            clip=folders["clip"],
            clip_revision=None,
            language_model=folders["llama"],
            language_model_revision=None,
            max_tokens=32,
            batch_tokens=256,
            batch_size=16,
            dtype="float32",
        ),
    }
    return EncodeContent.model_validate({"text": text, "image": image, **sections, **widths})


@pytest.fixture
def encode(tmp_path, tiny_bert, tiny_siglip, tiny_llm2clip):
    """A function that encodes by the encoders of two names."""

    def run(items: pd.DataFrame, pictures: list[bytes | None], text: str, image: str):
        ids = items["item_id"].to_numpy(object)
        raw = {name: RawEmbedding(ids, np.ones((len(ids), 3), dtype=np.float32)) for name in ("text", "image")}
        clip, llama = map(str, tiny_llm2clip)
        folders = {"bert": str(tiny_bert), "siglip": str(tiny_siglip), "clip": clip, "llama": llama}
        chosen = settings(text, image, folders)
        encoded = content.encode(items, pictures, raw, chosen, 0, "cpu", silent, Shards(tmp_path / "shards"))
        by_name = {"text": text, "image": image}
        assert set(encoded.models) == {name for name in encoded.embeddings if by_name[name] in content.SPREAD}
        return encoded.embeddings

    return run


@pytest.fixture
def items(toy) -> pd.DataFrame:
    return toy.items[:50]


@pytest.fixture
def pictures(toy) -> list[bytes | None]:
    return toy.pictures[:50]


@pytest.mark.parametrize("text", content.TEXT)
def test_every_text_encoder(encode, items, pictures, text):
    found = encode(items, pictures, text, "none")
    assert set(found) == (set() if text == "none" else {"text"})
    for embedding in found.values():
        assert embedding.matrix.shape[0] == len(embedding.present) == 51
        assert np.isfinite(embedding.matrix).all()
        assert not embedding.matrix[~embedding.present].any()
        assert embedding.matrix[embedding.present].any(axis=1).all()


@pytest.mark.parametrize("image", content.IMAGE)
def test_every_image_encoder(encode, items, pictures, image):
    found = encode(items, pictures, "none", image)
    assert set(found) == (set() if image == "none" else {"image"})
    for embedding in found.values():
        assert embedding.matrix.shape[0] == len(embedding.present) == 51
        assert np.isfinite(embedding.matrix).all()
        assert not embedding.matrix[~embedding.present].any()


def test_the_params_allow_exactly_the_encoders_that_exist():
    assert set(get_args(EncodeContent.model_fields["text"].annotation)) == set(content.TEXT)
    assert set(get_args(EncodeContent.model_fields["image"].annotation)) == set(content.IMAGE)


def test_one_model_is_trained_for_both_modalities(encode, items, pictures, monkeypatch):
    trained = []
    train = open_clip_training.train_embedded

    def counted(*args):
        trained.append(1)
        return train(*args)

    monkeypatch.setattr(open_clip_training, "train_embedded", counted)
    assert set(encode(items, pictures, "open_clip", "open_clip")) == {"text", "image"}
    assert len(trained) == 1


def test_a_modality_that_no_item_has_is_left_out(encode, items):
    assert set(encode(items, [None] * 50, "lsa", "open_clip")) == {"text"}
    textless = items.assign(title=None, description=None)
    assert encode(textless, [None] * 50, "open_clip", "open_clip") == {}
    assert encode(textless, [None] * 50, "sentence_transformers", "none") == {}


def test_a_catalogue_without_pairs_cannot_train_the_embedded_model(encode, items):
    with pytest.raises(DataError, match=r"set encode_content\.text to lsa"):
        encode(items, [None] * 50, "open_clip", "open_clip")
