"""Sources, preparation and expectations: from a raw catalogue to sequences."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mmesid.artifacts.values import Catalogue, Oracle
from mmesid.data import files, sample

# How `sources/<dataset>` is read, by `ingest.source`: read(folder, {modality: name of a precomputed embedding}, text
# columns or None).
Read = Callable[[Path, dict[str, str], Sequence[str] | None], Catalogue]
SOURCES: dict[str, Read] = {
    "sample": sample.read,
    "files": files.read,
}

# Sources that know the law of their interactions.
ORACLES: dict[str, Callable[[Path], Oracle]] = {"sample": sample.read_oracle}
