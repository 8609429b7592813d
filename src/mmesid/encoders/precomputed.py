"""Precomputed embeddings of the source, joined to the prepared items."""

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.values import Embedding, RawEmbedding
from mmesid.errors import DataError


def join(modality: str, item_ids: NDArray[np.object_], raw: RawEmbedding | None) -> Embedding:
    """The embedding file's rows in the order of the prepared items; items that the file lacks are masked, and
    so are vectors of zeros alone.

    Args:
        modality: for messages: collaborative, text or image.
        item_ids: of item 1..N.
        raw: the file as `ingest` read it, None where it named none.

    Raises:
        DataError: there is no such embedding, it repeats an item, or no item is in it.
    """
    section = "encode_collaborative.encoder" if modality == "collaborative" else f"encode_content.{modality}"
    if raw is None:
        raise DataError(
            f"{section} is precomputed, but the catalogue has no {modality} embedding; "
            f"name one, as in ingest.embeddings: {{{modality}: NAME}} for embeddings/{modality}_NAME.npz"
        )
    places = {item: place for place, item in enumerate(map(str, raw.item_ids))}
    if len(places) < len(raw.item_ids):
        raise DataError(f"the precomputed {modality} embedding holds {len(raw.item_ids) - len(places)} item ids twice")
    known = raw.present()
    found = np.array([places.get(str(item), -1) for item in item_ids], dtype=np.int64)
    found[~known[found]] = -1  # where there is none, found is -1 already
    if not (found >= 0).any():
        raise DataError(
            f"none of the {len(item_ids)} items has a vector in the precomputed {modality} embedding "
            f"(its ids look like {str(raw.item_ids[0])!r}, the items' like {str(item_ids[0])!r}); "
            "check item_id in the npz file"
        )
    present = np.concatenate([[False], found >= 0])
    matrix = np.zeros((len(present), raw.matrix.shape[1]), dtype=np.float32)
    matrix[present] = raw.matrix[found[found >= 0]]
    return Embedding(matrix, present)
