"""The tiny recommender's parts as fixtures."""

import pytest

from mmesid.artifacts.values import Embedding, SemanticIds, Sequences
from mmesid.config import Finetune, InitCodes, Protocol
from mmesid.recommender.model import Recommender

from . import tiny_recommender as tiny


@pytest.fixture
def init_settings() -> InitCodes:
    return tiny.init_settings()


@pytest.fixture
def finetune_settings() -> Finetune:
    return tiny.finetune_settings()


@pytest.fixture
def protocol() -> Protocol:
    return tiny.protocol()


@pytest.fixture
def embeddings() -> dict[str, Embedding]:
    return tiny.embeddings()


@pytest.fixture
def semantic_ids(embeddings) -> SemanticIds:
    return tiny.semantic_ids(embeddings)


@pytest.fixture
def sequences() -> Sequences:
    return tiny.sequences()


@pytest.fixture
def model(embeddings, semantic_ids, sequences, init_settings) -> Recommender:
    return tiny.tiny_model(embeddings, semantic_ids, sequences, init_settings)
