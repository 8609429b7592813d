"""Pictures without a trained model: the principal components of small pictures, for catalogues without texts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.pictures import decode
from mmesid.artifacts.values import Embedding
from mmesid.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 16  # pixels: shapes and colors, hardly any detail


def encode(pictures: Sequence[bytes | None], dimension: int, seed: int) -> Embedding:
    """Unit-length image embedding of every item that has a picture.

    The values of a small square picture, centred, then projected on their principal axes (eigenfaces, Turk and
    Pentland 1991). Where there are fewer pictures than `dimension`, the embedding is narrower.

    Args:
        pictures: files of item 1..N, None where the item has none.
        dimension: D, at most.
        seed: of the randomised SVD.

    Raises:
        DataError: there are not two different pictures.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize

    seen = [place for place, picture in enumerate(pictures) if picture]
    values = np.stack([_small(decode(content)) for content in pictures if content])  # (n, 3 * side * side)
    width = min(dimension, *values.shape)
    if not np.ptp(values, axis=0).any():
        raise DataError("all pictures look the same; set encode_content.image to none")
    reduced = normalize(PCA(width, random_state=seed).fit_transform(values)).astype(np.float32)
    matrix = np.zeros((len(pictures) + 1, width), dtype=np.float32)
    present = np.zeros(len(pictures) + 1, dtype=np.bool_)
    rows = np.asarray(seen) + 1
    matrix[rows], present[rows] = reduced, True
    return Embedding(matrix, present)


def _small(picture: "Image") -> NDArray[np.float32]:
    """The whole picture as a square, 0 to 1, in one row."""
    values: NDArray[np.float32] = np.asarray(picture.resize((SIDE, SIDE)), dtype=np.float32).ravel()
    return values / np.float32(255)
