"""Rivals that a dataset may have, by the names that `baselines.rivals` lists: how each is trained, and its row.

A rival is a file here, a line in RIVALS, its name and settings in the section `baselines`, and in `mmesid.models` two
rows: its own, and the one that is fused late.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Embedding, Sequences
from mmesid.baselines import content_transformer
from mmesid.baselines.training import Log, Trained
from mmesid.config import Config
from mmesid.evaluation.ranking import Scores


class Rival(NamedTuple):
    """How a rival is trained, and its scores by what the stage has written, None where it was not listed."""

    train: Callable[[Sequences, Mapping[str, Embedding], Config, str, Log], Trained]  # content by modality; device
    scores: Callable[[Store, Config, Sequences], Scores | None]


RIVALS: dict[str, Rival] = {
    content_transformer.NAME: Rival(content_transformer.train, content_transformer.scores),
}
