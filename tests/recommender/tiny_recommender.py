"""A recommender of a few thousand weights around a Llama with grouped queries, and users of every length."""

import numpy as np
import torch

from mmesid.artifacts.values import Embedding, SemanticIds, Sequences
from mmesid.config import Finetune, InitCodes, Protocol, load
from mmesid.recommender.backbone import Backbone
from mmesid.recommender.building import build
from mmesid.recommender.model import Recommender
from tests.tiny_world import WordTokenizer

N_ITEMS, HISTORY = 40, 8
INPUT_SCALE = 0.5
WIDTHS = {"collaborative": 6, "text": 10, "image": 8}


# Beside the defaults: the ways in which items look to the backbone and users are scored.
WAYS = {
    "tied": {},
    "tied with ids": {"item_id": True, "item_modalities": ["collaborative", "text", "image"]},
    "tied without codes": {"item_codes": []},
    "tied, codes alone": {"item_modalities": []},
    "tied, linear": {"input_hidden": 0},
    "table": {"items": "table", "response": "header"},
    "table, read at the item": {"items": "table"},
}


def init_settings(way: str = "tied") -> InitCodes:
    sizes = {"input_hidden": 24, "score_modalities": ["text", "image"], "item_table_std": 0.5}
    return load("sample").init_codes.model_copy(update={**sizes, **WAYS[way]})


def finetune_settings() -> Finetune:
    return load("sample").finetune.model_copy(
        update={
            "rank": 4,
            "alpha": 8,
            "row_tokens": 48,
            "targets_per_step": 32,
            "epochs": 2,
            "warmup_steps": 2,
            "adapter_dropout": 0.0,
            "input_dropout": 0.0,
            "layer_dropout": 0.0,
            "output_dropout": 0.0,
            "precision": "float32",
        }
    )


def protocol() -> Protocol:
    return load("sample").protocol.model_copy(update={"history_length": HISTORY})


def embeddings() -> dict[str, Embedding]:
    draw = np.random.default_rng(0)
    found = {}
    for modality, width in WIDTHS.items():
        present = draw.random(N_ITEMS + 1) > (0.0 if modality == "collaborative" else 0.2)
        present[0] = False
        matrix = draw.standard_normal((N_ITEMS + 1, width)).astype(np.float32) * present[:, None]
        found[modality] = Embedding(matrix, present)
    return found


def semantic_ids(embeddings: dict[str, Embedding]) -> SemanticIds:
    draw = np.random.default_rng(1)
    codes = {m: draw.integers(0, 5, (N_ITEMS + 1, 3)) * e.present[:, None] for m, e in embeddings.items()}
    books = {m: draw.standard_normal((3, 5, 4)).astype(np.float32) for m in embeddings}
    return SemanticIds(codes, books, {m: e.present for m, e in embeddings.items()})


def sequences() -> Sequences:
    draw = np.random.default_rng(2)
    lengths = [3, 4, 5, 6, 9, 11, 14, 23, 31, *draw.integers(3, 12, 30).tolist()]
    items = [draw.integers(1, N_ITEMS + 1, length) for length in lengths]
    return Sequences([f"user-{user}" for user in range(len(items))], items, N_ITEMS)


def tiny_model(
    embeddings: dict[str, Embedding], ids: SemanticIds, sequences: Sequences, settings: InitCodes
) -> Recommender:
    """The recommender before fine-tuning."""
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
    )
    backbone = Backbone(LlamaModel(config), WordTokenizer(), INPUT_SCALE, "tiny", None)
    return build(backbone, embeddings, ids, sequences.train_frequency(), settings, HISTORY, seed=4)


def usual_model() -> Recommender:
    """The recommender of all the functions above, the same in every process."""
    items = embeddings()
    return tiny_model(items, semantic_ids(items), sequences(), init_settings())
