"""Output of `encode_collaborative` and `encode_content`: an embedding per modality, and SASRec's weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmesid.artifacts.files import load_arrays, load_tensors, save_arrays, save_json, save_tensors
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import MODALITIES, Embedding
from mmesid.errors import ArtifactError

if TYPE_CHECKING:
    import torch


def save_embedding(store: Store, modality: str, embedding: Embedding) -> None:
    """One modality's, into the folder of the stage that makes it."""
    arrays = {"matrix": embedding.matrix, "present": embedding.present}
    save_arrays(store.folder(_encoder(modality)) / f"{modality}.safetensors", arrays)


def save_modalities(store: Store, embeddings: Mapping[str, Embedding]) -> None:
    """How many items have which content, also where there is none: DVC and git carry no empty folder."""
    counts = {modality: int(embedding.present.sum()) for modality, embedding in embeddings.items()}
    save_json(store.folder("encode_content") / "modalities.json", counts)


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


def save_sasrec(store: Store, weights: "Mapping[str, torch.Tensor]") -> None:
    """The weights of a trained SASRec."""
    save_tensors(store.folder("encode_collaborative") / "weights.safetensors", weights)


def load_sasrec(store: Store) -> "dict[str, torch.Tensor]":
    """As `save_sasrec` took them; raises ArtifactError where there are none."""
    return load_tensors(store.folder("encode_collaborative") / "weights.safetensors")


def _encoder(modality: str) -> str:
    return "encode_collaborative" if modality == "collaborative" else "encode_content"
