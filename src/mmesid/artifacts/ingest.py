"""Output of `ingest`: the canonical tables, named embeddings, and the law of a drawn catalogue."""

import numpy as np
import pandas as pd

from mmesid.artifacts.files import load_arrays, load_frame, load_json, save_arrays, save_frame, save_json
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Catalogue, Oracle, RawEmbedding


def save_catalogue(store: Store, catalogue: Catalogue) -> None:
    """Output of `ingest`."""
    folder = store.folder("ingest")
    save_frame(folder / "interactions.parquet", catalogue.interactions)
    save_frame(folder / "items.parquet", catalogue.items)
    save_json(folder / "notes.json", list(catalogue.notes))
    if catalogue.rejects is not None:
        save_frame(folder / "rejects.parquet", catalogue.rejects)
    for modality, embedding in catalogue.embeddings.items():
        frame = pd.DataFrame({"item_id": embedding.item_ids, "embedding": list(embedding.matrix)})
        save_frame(folder / "embeddings" / f"{modality}.parquet", frame)


def load_catalogue(store: Store) -> Catalogue:
    """Input of `validate` and `prepare`."""
    folder = store.folder("ingest")
    interactions, items = load_frame(folder / "interactions.parquet"), load_frame(folder / "items.parquet")
    notes = tuple(load_json(folder / "notes.json"))
    return Catalogue(interactions, items, load_raw_embeddings(store), notes)


def load_raw_embeddings(store: Store) -> dict[str, RawEmbedding]:
    """The catalogue's precomputed embeddings alone, by modality; those without a row are left out."""
    embeddings = {}
    for path in sorted((store.folder("ingest") / "embeddings").glob("*.parquet")):
        frame = load_frame(path)
        if len(frame):
            matrix = np.stack(frame["embedding"].to_list())
            embeddings[path.stem] = RawEmbedding(frame["item_id"].to_numpy(object), matrix)
    return embeddings


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
