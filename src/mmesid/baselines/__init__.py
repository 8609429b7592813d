"""Baselines and bounds: the rows of the results table beside the recommender's own.

A row is a file here, a line in BASELINES, and its label in `mmesid.models`.
"""

from collections.abc import Callable
from functools import partial

from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Sequences
from mmesid.baselines import content_transformer, fused, oracle, popularity, sasrec
from mmesid.config import Config
from mmesid.evaluation.ranking import Scores

# Makes a row's scores from what the stages have written; None where the dataset has no such row.
Build = Callable[[Store, Config, Sequences], Scores | None]

BASELINES: dict[str, Build] = {
    "content_transformer_fused": partial(fused.rival_scores, content_transformer.NAME),
    "content_transformer": content_transformer.scores,
    "sasrec_fused": fused.sasrec_scores,
    "sasrec": sasrec.scores,
    "evidence": fused.evidence_scores,
    "popularity": popularity.scores,
    "oracle": oracle.scores,
}
