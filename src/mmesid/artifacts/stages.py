"""Where each stage's output lies: the save/load pairs. The only place that knows file names."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmesid.artifacts.files import (
    load_arrays,
    load_frame,
    load_json,
    load_tensors,
    save_arrays,
    save_frame,
    save_json,
    save_tensors,
    write_atomically,
)
from mmesid.artifacts.values import (
    MODALITIES,
    Catalogue,
    Checkpoint,
    Embedding,
    History,
    Oracle,
    Prepared,
    RawEmbedding,
    SemanticIds,
    Sequences,
)
from mmesid.errors import ArtifactError

if TYPE_CHECKING:
    import torch


class Store:
    """The folder of one dataset, `data/<dataset>/<stage>/`."""

    def __init__(self, dataset: str, root: Path = Path()) -> None:
        self.dataset = dataset
        self.root = root

    def folder(self, stage: str) -> Path:
        """`data/<dataset>/<stage>`, made if missing."""
        folder = self.root / "data" / self.dataset / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def source(self) -> Path:
        """Where the dataset comes from: `sources/<dataset>`, a folder or a link to one."""
        return self.root / "sources" / self.dataset

    def report(self) -> Path:
        """`reports/<dataset>`, made if missing."""
        folder = self.root / "reports" / self.dataset
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def save_catalogue(store: Store, catalogue: Catalogue) -> None:
    """Output of `ingest`."""
    folder = store.folder("ingest")
    save_frame(folder / "interactions.parquet", catalogue.interactions)
    save_frame(folder / "items.parquet", catalogue.items)
    for modality, embedding in catalogue.embeddings.items():
        frame = pd.DataFrame({"item_id": embedding.item_ids, "embedding": list(embedding.matrix)})
        save_frame(folder / "embeddings" / f"{modality}.parquet", frame)


def load_catalogue(store: Store) -> Catalogue:
    """Input of `validate` and `prepare`."""
    folder = store.folder("ingest")
    embeddings = {
        path.stem: RawEmbedding(frame["item_id"].to_numpy(object), np.stack(frame["embedding"].to_list()))
        for path in sorted((folder / "embeddings").glob("*.parquet"))
        if len(frame := load_frame(path))
    }
    return Catalogue(load_frame(folder / "interactions.parquet"), load_frame(folder / "items.parquet"), embeddings)


def save_oracle(store: Store, oracle: Oracle) -> None:
    """Output of `ingest`, for drawn catalogues only."""
    folder = store.folder("ingest")
    arrays = {"query": oracle.query, "key": oracle.key, "lags": oracle.lags, "bias": oracle.bias}
    save_json(folder / "oracle.json", oracle.item_ids)
    save_arrays(folder / "oracle.safetensors", arrays)


def load_oracle(store: Store) -> Oracle | None:
    """The law of a drawn catalogue, None for a real one."""
    folder = store.folder("ingest")
    if not (folder / "oracle.safetensors").exists():
        return None
    arrays = load_arrays(folder / "oracle.safetensors")
    return Oracle(load_json(folder / "oracle.json"), *(arrays[name] for name in ("query", "key", "lags", "bias")))


def save_validation(store: Store, result: dict[str, Any], rejects: pd.DataFrame, html: str) -> tuple[Path, Path]:
    """Output of `validate`: the verdict, the rejected rows, and the page about both; returns the paths of these two."""
    folder = store.folder("validate")
    rejects_path, page_path = folder / "rejects.parquet", folder / "report.html"
    save_json(folder / "result.json", result)
    save_frame(rejects_path, rejects)
    write_atomically(page_path, lambda beside: beside.write_text(html, encoding="utf-8"))
    return rejects_path, page_path


def load_validation(store: Store) -> tuple[dict[str, Any], pd.DataFrame]:
    """The verdict and the rejected rows."""
    folder = store.folder("validate")
    return load_json(folder / "result.json"), load_frame(folder / "rejects.parquet")


def save_prepared(store: Store, prepared: Prepared) -> None:
    """Output of `prepare`."""
    sequences = prepared.sequences
    frame = pd.DataFrame({"user_id": sequences.user_ids, "items": [s.tolist() for s in sequences.items]})
    save_frame(store.folder("prepare") / "sequences.parquet", frame)
    save_frame(store.folder("prepare") / "items.parquet", prepared.items)


def load_prepared(store: Store) -> Prepared:
    """Input of every stage after `prepare`."""
    items = load_frame(store.folder("prepare") / "items.parquet")
    return Prepared(load_sequences(store, len(items)), items)


def load_sequences(store: Store, n_items: int) -> Sequences:
    """The sequences alone, where pictures and texts are not needed."""
    frame = load_frame(store.folder("prepare") / "sequences.parquet")
    items = [np.asarray(sequence, dtype=np.int64) for sequence in frame["items"]]
    return Sequences(frame["user_id"].astype(str).to_list(), items, n_items)


def save_embedding(store: Store, modality: str, embedding: Embedding) -> None:
    """Output of `encode_collaborative` and `encode_content`."""
    arrays = {"matrix": embedding.matrix, "present": embedding.present}
    save_arrays(store.folder(_encoder(modality)) / f"{modality}.safetensors", arrays)


def load_embeddings(store: Store) -> dict[str, Embedding]:
    """Every modality that the encoders found, in the order of MODALITIES."""
    embeddings = {}
    for modality in MODALITIES:
        path = store.folder(_encoder(modality)) / f"{modality}.safetensors"
        if path.exists():
            arrays = load_arrays(path)
            embeddings[modality] = Embedding(arrays["matrix"], arrays["present"])
    if not embeddings:
        raise ArtifactError(f"{store.dataset}: no modality has an embedding; run `dvc repro`")
    return embeddings


def save_semantic_ids(store: Store, ids: SemanticIds) -> None:
    """Output of `tokenize`."""
    arrays: dict[str, NDArray[Any]] = {}
    for modality in ids.codes:
        arrays[f"{modality}.codes"] = ids.codes[modality]
        arrays[f"{modality}.codebooks"] = ids.codebooks[modality]
        arrays[f"{modality}.present"] = ids.present[modality]
    save_arrays(store.folder("tokenize") / "semantic_ids.safetensors", arrays)


def load_semantic_ids(store: Store) -> SemanticIds:
    """Input of `init_codes` and `evaluate`."""
    arrays = load_arrays(store.folder("tokenize") / "semantic_ids.safetensors")
    found = [modality for modality in MODALITIES if f"{modality}.codes" in arrays]
    return SemanticIds(*({m: arrays[f"{m}.{part}"] for m in found} for part in ("codes", "codebooks", "present")))


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """A recommender's own tensors and configuration; the backbone and the adapter lie beside them."""
    save_tensors(folder / "recommender.safetensors", checkpoint.weights)
    save_json(folder / "recommender.json", checkpoint.config)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Raises ArtifactError where a file is missing."""
    return Checkpoint(load_json(folder / "recommender.json"), load_tensors(folder / "recommender.safetensors"))


def save_trainer(store: Store, tensors: "Mapping[str, torch.Tensor]", note: dict[str, Any]) -> None:
    """Where fine-tuning stands, one file, so that it is whole or absent."""
    save_tensors(_trainer(store), tensors, note)


def load_trainer(store: Store) -> "tuple[dict[str, torch.Tensor], dict[str, Any]] | None":
    """What a killed fine-tuning left; None where there is nothing."""
    from safetensors import safe_open

    if not _trainer(store).exists():
        return None
    with safe_open(_trainer(store), "pt") as file:
        note = json.loads(file.metadata()["note"])
    return load_tensors(_trainer(store)), note


def drop_trainer(store: Store) -> None:
    """Fine-tuning is done: what would resume it goes."""
    _trainer(store).unlink(missing_ok=True)


def save_ranks(store: Store, stage: str, ranks: pd.DataFrame) -> None:
    """Rank of each user's target: user int64 (position in sequences), split, model, rank int64 (1 is best)."""
    save_frame(store.folder(stage) / "ranks.parquet", ranks)


def load_ranks(store: Store, stage: str) -> pd.DataFrame:
    """Ranks as written by `encode_collaborative` (SASRec) or `evaluate` (every model)."""
    return load_frame(store.folder(stage) / "ranks.parquet")


def save_history(store: Store, stage: str, history: History) -> None:
    """Training curves of a stage."""
    save_json(store.folder(stage) / "history.json", history)


def load_history(store: Store, stage: str) -> History:
    """Training curves of a stage, empty where it has none."""
    path = store.folder(stage) / "history.json"
    return list(load_json(path)) if path.exists() else []


def _trainer(store: Store) -> Path:
    """Beside the stages' folders: DVC deletes a stage's own before it runs."""
    return store.root / "data" / store.dataset / "trainer.safetensors"


def _encoder(modality: str) -> str:
    return "encode_collaborative" if modality == "collaborative" else "encode_content"
