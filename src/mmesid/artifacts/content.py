"""The content embeddings among the output of `encode_content`, for what must not wait for the collaborative one."""

from mmesid.artifacts.files import load_arrays
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import CONTENT, Embedding


def load_content(store: Store) -> dict[str, Embedding]:
    """By modality, in the order of CONTENT; one that no item has is left out, so that there may be none."""
    paths = {modality: store.folder("encode_content") / f"{modality}.safetensors" for modality in CONTENT}
    return {modality: Embedding(**load_arrays(path)) for modality, path in paths.items() if path.exists()}
