"""Output of `encode_collaborative` and `encode_content`: an embedding per modality."""

from typing import TYPE_CHECKING

from mmesid.artifacts.files import (
    load_arrays,
    save_arrays,
)
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import (
    MODALITIES,
    Embedding,
)
from mmesid.errors import ArtifactError

if TYPE_CHECKING:
    pass


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


def _encoder(modality: str) -> str:
    return "encode_collaborative" if modality == "collaborative" else "encode_content"
