import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load

from mmesid import config
from mmesid.artifacts.content import load_content
from mmesid.artifacts.curves import load_curves
from mmesid.artifacts.encode import load_embeddings, load_sasrec
from mmesid.artifacts.ingest import save_catalogue
from mmesid.artifacts.prepare import save_prepared
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import MODALITIES, Catalogue, Prepared, RawEmbedding, Sequences
from mmesid.errors import DataError
from mmesid.stages import encode_collaborative, encode_content
from tests.logs import silent

ROOT = Path(__file__).parents[2]


def settings(section: str, **values: object) -> config.Config:
    """The defaults of `sample` with one section made small and changed by `values`."""
    whole = config.load("sample", ROOT)
    changed = getattr(whole, section).model_copy(update=values)
    return whole.model_copy(update={section: changed})


@pytest.fixture
def store(tmp_path, toy) -> Store:
    """What `ingest` and `prepare` leave behind: 60 users of the toy catalogue, embeddings of most items."""
    store = Store("toy", tmp_path)
    rng = np.random.default_rng(0)
    users = [f"u{user}" for user in range(60)]
    items = [rng.permutation(200)[:6].astype(np.int64) + 1 for _ in users]
    save_prepared(store, Prepared(Sequences(users, items, 200), toy.items, toy.pictures))
    given = RawEmbedding(toy.items["item_id"].to_numpy(object)[:150], np.ones((150, 4), dtype=np.float32))
    embeddings = dict.fromkeys(MODALITIES, given)
    save_catalogue(store, Catalogue(pd.DataFrame({"user_id": users}), toy.items.assign(image=toy.pictures), embeddings))
    return store


SMALL = {"dimension": 8, "blocks": 1, "epochs": 2}


def test_sasrec_leaves_embedding_weights_and_curves(store):
    encode_collaborative.run(settings("encode_collaborative", **SMALL), store, silent)
    embedding = load_embeddings(store)["collaborative"]
    weights = load_sasrec(store)
    np.testing.assert_array_equal(
        embedding.matrix[embedding.present], weights["items.weight"].numpy()[embedding.present]
    )
    assert len(load_curves(store, "encode_collaborative")) == 2


def test_a_precomputed_collaborative_embedding_still_trains_the_baseline(store):
    encode_collaborative.run(settings("encode_collaborative", encoder="precomputed", **SMALL), store, silent)
    embedding = load_embeddings(store)["collaborative"]
    assert embedding.matrix.shape == (201, 4)
    assert embedding.present.sum() == 150
    assert load_sasrec(store)["items.weight"].shape == (201, 8)


def test_a_missing_precomputed_embedding_stops_before_any_training(store):
    (store.folder("ingest") / "embeddings" / "collaborative.parquet").unlink()
    steps: list[int] = []
    with pytest.raises(DataError, match=r"ingest\.embeddings"):
        encode_collaborative.run(
            settings("encode_collaborative", encoder="precomputed", **SMALL),
            store,
            lambda metrics, step: steps.append(step),
        )
    assert not steps


def test_content_embeddings_pass_through_the_store(store):
    encode_content.run(settings("encode_content", text="lsa", image="precomputed", lsa_dimension=5), store, silent)
    found = load_embeddings(store)
    assert {name: embedding.matrix.shape for name, embedding in found.items()} == {"text": (201, 5), "image": (201, 4)}
    assert found["text"].present.sum() == 199


def test_a_text_model_leaves_what_it_was_and_no_shards(store, tiny_bert):
    chosen = settings("encode_content").encode_content.sentence_transformers.model_copy(
        update={"model": str(tiny_bert)}
    )
    encode_content.run(
        settings("encode_content", text="sentence_transformers", image="none", sentence_transformers=chosen),
        store,
        silent,
    )
    assert load_embeddings(store)["text"].present.sum() == 199
    made = json.loads((store.folder("encode_content") / "models.json").read_text(encoding="utf-8"))
    assert (made["text"]["pooling"], made["text"]["dtype"]) == ("mean", "float32")
    assert not (store.folder("encode_content").parent / "content_shards").exists()


@pytest.mark.pipeline
def test_two_processes_leave_what_one_does(store, tmp_path, tiny_bert, tiny_siglip):
    """The stage as its command starts it; pixels could not be divided, texts and pictures by pretrained models are."""
    models = {"sentence_transformers": {"model": str(tiny_bert)}, "transformers": {"model": str(tiny_siglip)}}
    section = {"text": "sentence_transformers", "image": "transformers", **models}
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "toy.yaml").write_text(yaml.safe_dump({"encode_content": section}), encoding="utf-8")
    resolved = config.resolved_path("toy", tmp_path)
    resolved.parent.mkdir(parents=True)
    resolved.write_text(config.resolved_text("toy", tmp_path), encoding="utf-8")
    encode_content.run(config.load("toy", tmp_path), store, silent)
    one = {path.name: path.read_bytes() for path in store.folder("encode_content").iterdir()}
    shutil.rmtree(store.folder("encode_content"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "MMESID_PROCESSES": "2", "MMESID_DEVICE": "cpu"}
    command = [sys.executable, "-m", "mmesid.stages.encode_content", "toy"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == 0, done.stderr[-3000:]
    two = {path.name: path.read_bytes() for path in store.folder("encode_content").iterdir()}
    assert two.keys() == one.keys() == {"modalities.json", "models.json", "text.safetensors", "image.safetensors"}
    assert (two["models.json"], two["modalities.json"]) == (one["models.json"], one["modalities.json"])
    for modality, embedding in load_content(store).items():
        wanted = load(one[f"{modality}.safetensors"])
        np.testing.assert_allclose(embedding.matrix, wanted["matrix"], atol=1e-5)
    assert not (store.folder("encode_content").parent / "content_shards").exists()


def test_no_content_at_all_writes_that_there_is_none(store):
    encode_content.run(settings("encode_content", text="none", image="none"), store, silent)
    (written,) = store.folder("encode_content").iterdir()  # git and DVC carry no empty folder
    assert (written.name, written.read_text(encoding="utf-8")) == ("modalities.json", "{}\n")
