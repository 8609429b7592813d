"""Output of `tokenize`: semantic IDs and codebooks."""

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from mmesid.artifacts.files import (
    load_arrays,
    save_arrays,
)
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import (
    MODALITIES,
    SemanticIds,
)

if TYPE_CHECKING:
    pass


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
