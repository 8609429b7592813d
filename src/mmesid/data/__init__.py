"""Sources, preparation and expectations: from a raw catalogue to sequences."""

from collections.abc import Callable
from pathlib import Path

from mmesid.artifacts.values import Catalogue, Oracle
from mmesid.data import amazon, files, sample
from mmesid.data.formats import How

# How `sources/<dataset>` is read, by `ingest.source`: read(folder, {modality: name of a precomputed embedding}, how).
SOURCES: dict[str, Callable[[Path, dict[str, str], How], Catalogue]] = {
    "sample": sample.read,
    "files": files.read,
    "amazon": amazon.read,
}

# Sources that know the law of their interactions.
ORACLES: dict[str, Callable[[Path], Oracle]] = {"sample": sample.read_oracle}
