"""What a stage saves, the next one loads; what is absent says so; asking writes nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mmesid.artifacts import baselines, content, encode, evaluate, finetune, fuse, ingest, prepare, tokenize
from mmesid.artifacts.curves import load_curves, save_curves
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import (
    Catalogue,
    Checkpoint,
    Embedding,
    Fusion,
    FusionRule,
    FusionTables,
    FusionWeights,
    Oracle,
    Prepared,
    RawEmbedding,
    SemanticIds,
    Sequences,
    Transitions,
)
from mmesid.errors import ArtifactError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store("shop", tmp_path)


@pytest.fixture
def prepared() -> Prepared:
    sequences = Sequences(["u", "7"], [np.array([1, 2, 3, 2]), np.array([3, 1, 2])], 4)
    items = pd.DataFrame({"item_id": ["a", "b", "c", "d"], "title": ["A", None, " ", "D"], "image_name": None})
    return Prepared(sequences, items, [b"\xff\xd8", None, b"", b"\x00" * 9])


def test_sequences_items_and_pictures_come_back_apart(store: Store, prepared: Prepared) -> None:
    prepare.save_prepared(store, prepared)
    sequences = prepare.load_sequences(store)
    assert sequences.user_ids == ["u", "7"]
    assert sequences.n_items == 4  # the last one is in nobody's sequence
    assert all(items.dtype == np.int64 for items in sequences.items)
    assert [items.tolist() for items in sequences.items] == [items.tolist() for items in prepared.sequences.items]
    items = prepare.load_items(store)
    assert list(items.columns) == ["item_id", "title", "image_name"]
    assert items["item_id"].tolist() == ["a", "b", "c", "d"]
    assert items["title"][0] == "A"
    assert items["title"].isna().tolist() == [False, True, False, False]
    assert prepare.load_pictures(store) == prepared.pictures
    assert sorted(path.name for path in store.folder("prepare").iterdir()) == [
        "items.parquet",
        "pictures.parquet",
        "sequences.parquet",
    ]


def test_loaded_sequences_are_the_callers_own(store: Store, prepared: Prepared) -> None:
    """torch warns about arrays that it cannot write to; the file's own are such."""
    prepare.save_prepared(store, prepared)
    assert all(items.flags.writeable for items in prepare.load_sequences(store).items)


def test_a_catalog_without_any_picture_has_none(store: Store, prepared: Prepared) -> None:
    prepare.save_prepared(store, prepared._replace(pictures=[None] * 4))
    assert prepare.load_pictures(store) == [None] * 4


def test_equal_values_are_equal_files(tmp_path: Path, prepared: Prepared) -> None:
    written = []
    for name in ("one", "two"):
        store = Store("shop", tmp_path / name)
        prepare.save_prepared(store, prepared)
        written.append({path.name: path.read_bytes() for path in store.folder("prepare").iterdir()})
    assert written[0] == written[1]


def test_a_catalogue_comes_back_with_the_embeddings_that_have_a_row(store: Store) -> None:
    interactions = pd.DataFrame({"user_id": ["u"], "item_id": ["a"], "timestamp": [3], "file": ["f"], "row": [1]})
    items = pd.DataFrame(
        {"item_id": ["a", None], "title": ["A", "B"], "image": [b"x", None], "image_name": ["n", None]}
    )
    full = RawEmbedding(np.array(["b", "a"], dtype=object), np.arange(6, dtype=np.float32).reshape(2, 3))
    empty = RawEmbedding(np.array([], dtype=object), np.zeros((0, 3), dtype=np.float32))
    ingest.save_catalogue(store, Catalogue(interactions, items, {"text": full, "image": empty}))
    found = ingest.load_catalogue(store)
    assert found.interactions.to_dict("list") == interactions.to_dict("list")
    assert found.items["image"].tolist() == [b"x", None]
    assert list(found.embeddings) == ["text"]
    assert found.embeddings["text"].item_ids.tolist() == ["b", "a"]
    np.testing.assert_array_equal(found.embeddings["text"].matrix, full.matrix)


def test_an_oracle_comes_back_and_a_real_catalog_has_none(store: Store) -> None:
    assert ingest.load_oracle(store) is None
    draw = np.random.default_rng(0)
    query, key = draw.random((2, 3, 2)).astype(np.float32)
    oracle = Oracle(["a", "b", "c"], query, key, np.float32([1, 0.5]), np.float32([1, 2, 3]))
    ingest.save_oracle(store, oracle)
    found = ingest.load_oracle(store)
    assert found is not None
    assert found.item_ids == oracle.item_ids
    for part, expected in zip(found[1:], oracle[1:], strict=True):
        np.testing.assert_array_equal(part, expected)


def test_embeddings_come_back_in_the_order_of_the_modalities(store: Store) -> None:
    present = np.array([False, True, False])
    for modality in ("image", "collaborative"):
        encode.save_embedding(store, modality, Embedding(np.ones((3, 2), dtype=np.float32) * present[:, None], present))
    found = encode.load_embeddings(store)
    assert list(found) == ["collaborative", "image"]
    assert found["image"].present.tolist() == present.tolist()
    assert (store.folder("encode_collaborative") / "collaborative.safetensors").exists()
    assert (store.folder("encode_content") / "image.safetensors").exists()


def test_content_comes_without_the_collaborative_embedding_and_there_may_be_none(store: Store) -> None:
    assert content.load_content(store) == {}
    present = np.array([False, True, False])
    embedding = Embedding(np.ones((3, 2), dtype=np.float32) * present[:, None], present)
    for modality in ("image", "collaborative", "text"):
        encode.save_embedding(store, modality, embedding)
    found = content.load_content(store)
    assert list(found) == ["text", "image"]
    for part in found.values():
        np.testing.assert_array_equal(part.matrix, embedding.matrix)
        np.testing.assert_array_equal(part.present, present)


def test_rivals_come_back_and_none_is_said_too(store: Store) -> None:
    baselines.save_rivals(store, [])
    assert baselines.load_rivals(store) == []
    weights = {"a": torch.arange(3.0)}
    baselines.save_rival(store, "another", weights, [{"step": 1, "loss": 2.0}])
    baselines.save_rivals(store, ["another"])
    assert baselines.load_rivals(store) == ["another"]
    assert torch.equal(baselines.load_rival(store, "another")["a"], weights["a"])
    assert load_curves(store, baselines.curves_of("another")) == [{"step": 1, "loss": 2.0}]


def test_weights_semantic_ids_and_a_checkpoint_come_back(store: Store) -> None:
    weights = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.bool)}
    encode.save_sasrec(store, weights)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in encode.load_sasrec(store).items())
    codes, present = np.array([[0, 0], [1, 2]]), np.array([False, True])
    books = np.ones((2, 3, 4), dtype=np.float32)
    tokenize.save_semantic_ids(store, SemanticIds({"text": codes}, {"text": books}, {"text": present}))
    ids = tokenize.load_semantic_ids(store)
    np.testing.assert_array_equal(ids.codes["text"], codes)
    np.testing.assert_array_equal(ids.codebooks["text"], books)
    np.testing.assert_array_equal(ids.present["text"], present)
    finetune.save_checkpoint(store.folder("finetune"), Checkpoint({"n_items": 3}, weights))
    found = finetune.load_checkpoint(store.folder("finetune"))
    assert found.config == {"n_items": 3}
    assert found.weights.keys() == weights.keys()


def test_where_fine_tuning_stands_comes_back_until_it_is_dropped(store: Store) -> None:
    assert finetune.load_trainer(store, pytest.fail) is None
    finetune.save_trainer(store, {"model.a": torch.ones(2)}, {"epoch": 1, "best": 0.5})
    left = finetune.load_trainer(store, pytest.fail)
    assert left is not None
    assert torch.equal(left[0]["model.a"], torch.ones(2))
    assert left[1] == {"epoch": 1, "best": 0.5}
    finetune.drop_trainer(store)
    assert finetune.load_trainer(store, pytest.fail) is None


@pytest.mark.parametrize("kept", [0, 40, -1], ids=["nothing", "half a header", "all but a byte"])
def test_a_checkpoint_that_is_cut_short_is_told_and_left(store: Store, kept: int) -> None:
    finetune.save_trainer(store, {"model.a": torch.ones(2)}, {"epoch": 1})
    (path,) = (store.root / "data" / store.dataset).glob("trainer.*")
    path.write_bytes(path.read_bytes()[:kept])
    said: list[str] = []
    assert finetune.load_trainer(store, said.append) is None
    assert [f"{path} is cut short, as a power cut leaves it: fine-tuning starts over"] == said
    finetune.save_trainer(store, {"model.a": torch.ones(2)}, {"epoch": 2})
    left = finetune.load_trainer(store, pytest.fail)
    assert left is not None
    assert left[1] == {"epoch": 2}


def fusion_of_two_items() -> Fusion:
    memory = Transitions(np.array([0, 0, 1, 1]), np.array([2], dtype=np.int32), np.array([0.5], dtype=np.float32))
    tables = FusionTables(np.array([0, 2, 1]), memory, {"text": np.ones((3, 4), dtype=np.float16)})
    weights = {
        "mme_sid": FusionWeights(0.5, {"text": [1.0, 2.0]}),
        "evidence": FusionWeights(None, {"text": [0.0, 1.5]}),
    }
    return Fusion(tables, FusionRule(50, content_decay=0.8), [0, 4], weights)


def test_late_fusion_comes_back(store: Store) -> None:
    saved = fusion_of_two_items()
    path = fuse.save_fusion(store.folder("fuse"), saved)
    assert json.loads(path.read_text(encoding="utf-8"))["rule"]["content_decay"] == 0.8
    found = fuse.load_fusion(store.folder("fuse"))
    assert found[1:] == saved[1:]
    np.testing.assert_equal(found.tables._asdict(), saved.tables._asdict())
    assert {name: rows.dtype for name, rows in found.tables.content.items()} == {"text": np.float16}


FAULTS: dict[str, tuple[Callable[[Fusion], Fusion], str]] = {
    "a content table of another catalogue": (
        lambda sound: sound._replace(tables=sound.tables._replace(content={"text": np.ones((4, 4), dtype=np.float16)})),
        "text does not fit 2 items",
    ),
    "a neighbor that is no item": (
        lambda sound: sound._replace(
            tables=sound.tables._replace(
                transitions=sound.tables.transitions._replace(items=np.array([3], dtype=np.int32))
            )
        ),
        "transitions does not fit",
    ),
    "rows that do not follow each other": (
        lambda sound: sound._replace(
            tables=sound.tables._replace(transitions=sound.tables.transitions._replace(starts=np.array([0, 2, 1, 1])))
        ),
        "starts does not fit",
    ),
    "a weight too few": (
        lambda sound: sound._replace(weights={"mme_sid": FusionWeights(0.5, {"text": [1.0]})}),
        "mme_sid has 1 weights of text for 2 bins",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_late_fusion_whose_files_do_not_fit_is_refused(name: str, store: Store) -> None:
    damage, message = FAULTS[name]
    fuse.save_fusion(store.folder("fuse"), damage(fusion_of_two_items()))
    with pytest.raises(ArtifactError, match=message):
        fuse.load_fusion(store.folder("fuse"))


@pytest.mark.parametrize("change", [{"another": 1}, {"rule": {"history": 3}}, {"bins": None}])
def test_late_fusion_of_another_form_is_refused(change: dict[str, Any], store: Store) -> None:
    path = fuse.save_fusion(store.folder("fuse"), fusion_of_two_items())
    note = json.loads(path.read_text(encoding="utf-8")) | change
    path.write_text(json.dumps({key: value for key, value in note.items() if value is not None}), encoding="utf-8")
    with pytest.raises(ArtifactError, match="dvc repro"):
        fuse.load_fusion(store.folder("fuse"))


def test_results_come_back_and_metrics_lie_in_git_as_well(store: Store) -> None:
    assert not evaluate.has_metrics(store)
    metrics = {"test": {"mme_sid": {"mrr": 0.5}}}
    evaluate.save_metrics(store, metrics)
    assert evaluate.has_metrics(store)
    assert evaluate.load_metrics(store) == metrics
    assert evaluate.reported_metrics(store.root) == {"shop": metrics}
    ranks = pd.DataFrame({"user": [0, 1], "split": "test", "model": "mme_sid", "rank": [3, 1]})
    evaluate.save_ranks(store, ranks)
    assert evaluate.load_ranks(store).to_dict("list") == ranks.to_dict("list")
    for save, load, value in (
        (evaluate.save_spectra, evaluate.load_spectra, {"item input": [1.0, 0.5]}),
        (evaluate.save_examples, evaluate.load_examples, [{"user_id": "ü"}]),
        (tokenize.save_diagnostics, tokenize.load_diagnostics, {"text": {"perplexity": 2.0}}),
    ):
        save(store, value)
        assert load(store) == value


def test_curves_come_back_and_a_stage_without_any_has_none(store: Store) -> None:
    save_curves(store, "finetune", [{"step": 1, "loss": 2.0}])
    assert load_curves(store, "finetune") == [{"step": 1, "loss": 2.0}]
    assert load_curves(store, "tokenize") == []


@pytest.mark.parametrize(
    "load",
    [
        prepare.load_sequences,
        prepare.load_items,
        prepare.load_pictures,
        ingest.load_catalogue,
        encode.load_embeddings,
        encode.load_sasrec,
        baselines.load_rivals,
        lambda store: baselines.load_rival(store, "content_transformer"),
        tokenize.load_semantic_ids,
        tokenize.load_diagnostics,
        lambda store: fuse.load_fusion(store.folder("fuse")),
        evaluate.load_metrics,
        evaluate.load_ranks,
    ],
)
def test_what_is_missing_names_the_command_and_asking_makes_no_folder(load, store: Store) -> None:
    with pytest.raises(ArtifactError, match="dvc repro"):
        load(store)
    assert not store.folder("prepare").exists()
    assert not list(store.root.iterdir())


def test_what_may_be_missing_is_empty(store: Store) -> None:
    assert evaluate.load_spectra(store) == {}
    assert evaluate.load_examples(store) == []
    assert evaluate.reported_metrics(store.root) == {}
    assert ingest.load_raw_embeddings(store) == {}
    assert not list(store.root.iterdir())
