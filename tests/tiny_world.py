"""A finished pipeline of 40 items and 120 users on disk, around a recommender of a few thousand weights."""

from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import numpy as np
import pandas as pd
import torch

from mmesid import config
from mmesid.artifacts.evaluate import save_metrics, save_ranks
from mmesid.artifacts.fuse import save_fusion
from mmesid.artifacts.prepare import save_prepared
from mmesid.artifacts.store import Store
from mmesid.artifacts.ties import save_tied_share
from mmesid.artifacts.values import (
    Embedding,
    Fusion,
    FusionRule,
    FusionWeights,
    Prepared,
    SemanticIds,
    Sequences,
)
from mmesid.evaluation.metrics import summarize
from mmesid.fusion.fusing import build_tables
from mmesid.models import EVIDENCE_MODEL, FUSED_BASELINE, MAIN_MODEL, RANK_METRICS
from mmesid.recommender import adapter, loading
from mmesid.recommender.backbone import Backbone
from mmesid.recommender.building import build
from mmesid.recommender.model import Recommender

PROJECT = Path(__file__).parents[1]
DATASET = "sample"
N_ITEMS, USERS, HISTORY = 40, 120, 8


class WordTokenizer:
    """Splits at spaces; enough of a tokenizer for a prompt."""

    chat_template = None
    bos_token = None

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [1 + sum(word.encode()) % 90 for word in text.split()] or [2]}

    def save_pretrained(self, folder: Path) -> None:
        """Serving needs no tokenizer: the prompt's tokens are in the checkpoint."""


def make_champion(root: Path) -> None:
    """In a copy of the project, its parameters replaced: the dataset, trained, whose first version is the champion."""
    from mmesid import registry, tracking

    for path in ("params.yaml", "dvc.yaml"):
        (root / path).unlink()
    rmtree(root / "conf")
    make(root)
    registry.register(DATASET, root)
    tracking.client(root).set_registered_model_alias(registry.model_name(DATASET), "champion", "1")


def make(root: Path) -> Store:
    """Write parameters and the outputs of prepare, init_codes, finetune, fuse and evaluate."""
    for name in ("params.yaml", "dvc.yaml"):
        (root / name).write_bytes((PROJECT / name).read_bytes())
    copytree(PROJECT / "conf", root / "conf")
    store = Store(DATASET, root)
    prepared = catalogue()
    save_prepared(store, prepared)
    save_tied_share(store, 0.0)
    train(store, prepared, seed=0)
    return store


def catalogue() -> Prepared:
    """Items `item-1`..`item-40`; the first has no title."""
    draw = np.random.default_rng(2)
    items = [draw.permutation(np.arange(1, N_ITEMS + 1))[: draw.integers(4, 15)] for _ in range(USERS)]
    sequences = Sequences([f"user-{user}" for user in range(USERS)], items, N_ITEMS)
    ids = [f"item-{number}" for number in range(1, N_ITEMS + 1)]
    titles = [None, *(f"Title of {number}" for number in range(2, N_ITEMS + 1))]
    frame = pd.DataFrame({"item_id": ids, "title": titles, "image_name": None})
    return Prepared(sequences, frame, [None] * N_ITEMS)


def train(store: Store, prepared: Prepared, seed: int) -> None:
    """Write another recommender and its evaluation, in which it beats the baselines."""
    model, backbone = recommender(prepared, seed)
    settings = config.load(DATASET, store.root).finetune
    loading.save_initial(store.folder("init_codes"), model, backbone, own=True)
    adapter.add_lora(model, settings)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    loading.save_finetuned(store.folder("finetune"), model, adapter.lora_settings(settings))
    (store.folder("finetune") / "trainer.safetensors").write_text("what a resumed training needs, and serving does not")
    save_fusion(store.folder("fuse"), fusion(prepared, seed, config.load(DATASET, store.root).protocol.history_length))
    evaluate(store, seed)


def evaluate(store: Store, seed: int) -> None:
    """Ranks of a good model beside poor baselines, and the metrics they give."""
    draw = np.random.default_rng(seed)
    ranks = {
        "mme_sid": draw.integers(1, 4, USERS),
        "mme_sid_network": draw.integers(2, 6, USERS),
        "sasrec_fused": draw.integers(3, 12, USERS),
        "sasrec": draw.integers(5, 20, USERS),
        "evidence": draw.integers(4, 16, USERS),
        "popularity": draw.integers(15, N_ITEMS, USERS),
    }
    frame = pd.concat(
        pd.DataFrame({"user": np.arange(USERS), "split": split, "model": model, "rank": found})
        for split in ("valid", "test")
        for model, found in ranks.items()
    )
    save_ranks(store, frame)
    scores = {model: summarize(found, RANK_METRICS) for model, found in ranks.items()}
    tokenizer = {"collision_rate": 0.1, "identical": 0.0, "code_use": 0.5, "perplexity": 3.0, "reconstruction": 0.2}
    metrics: dict[str, Any] = {
        "data": {"users": USERS, "items": N_ITEMS, "interactions": 1000, "sparsity": 0.8, "tied": 0.0},
        "valid": scores,
        "test": scores,
        "tokenizer": {"collaborative": tokenizer, "text": tokenizer},
    }
    save_metrics(store, metrics)


def encoded(seed: int) -> tuple[dict[str, Embedding], SemanticIds]:
    """Random embeddings and semantic IDs of two modalities."""
    draw = np.random.default_rng(seed)
    present = np.arange(N_ITEMS + 1) > 0
    widths = {"collaborative": 6, "text": 10}
    matrices = {m: draw.standard_normal((N_ITEMS + 1, width)).astype(np.float32) for m, width in widths.items()}
    embeddings = {m: Embedding(matrix * present[:, None], present) for m, matrix in matrices.items()}
    codes = {m: draw.integers(0, 5, (N_ITEMS + 1, 3)) * present[:, None] for m in widths}
    books = {m: draw.standard_normal((3, 5, 4)).astype(np.float32) for m in widths}
    return embeddings, SemanticIds(codes, books, dict.fromkeys(widths, present))


def fusion(prepared: Prepared, seed: int, history_length: int) -> Fusion:
    """Late fusion of the catalogue with random weights for each model that has any."""
    settings, draw = config.load(DATASET, PROJECT).fuse, np.random.default_rng(seed)
    tables = build_tables(prepared.sequences, *encoded(seed), settings)
    kinds = ["popularity", "transitions", *tables.content]
    weights = {
        model: FusionWeights(network, {kind: draw.uniform(0.1, 1, len(settings.bins)).tolist() for kind in kinds})
        for model, network in ((MAIN_MODEL, 0.7), (FUSED_BASELINE, 0.5), (EVIDENCE_MODEL, None))
    }
    return Fusion(tables, FusionRule(history_length), settings.bins, weights)


def recommender(prepared: Prepared, seed: int) -> tuple[Recommender, Backbone]:
    """A random recommender with two modalities."""
    from transformers import LlamaConfig, LlamaModel

    embeddings, ids = encoded(seed)
    torch.manual_seed(seed)
    sizes = {"vocab_size": 100, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    backbone = Backbone(LlamaModel(LlamaConfig(**sizes, num_attention_heads=4)), WordTokenizer(), 0.5, "tiny", None)
    parameters = config.load(DATASET, PROJECT)
    settings = parameters.init_codes.model_copy(update={"input_hidden": 24, "item_table_std": 0.5})
    frequency, length = prepared.sequences.train_frequency(), parameters.protocol.history_length
    return build(backbone, embeddings, ids, frequency, settings, length, seed), backbone
