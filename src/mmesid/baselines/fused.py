"""Rows with late fusion beside the main one: SASRec with the same evidence, and the evidence without any network."""

from mmesid.artifacts.fuse import load_fusion
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Sequences
from mmesid.baselines import sasrec
from mmesid.config import Config
from mmesid.evaluation.ranking import Scores
from mmesid.fusion.fused import Fused
from mmesid.models import EVIDENCE_MODEL, FUSED_BASELINE


def sasrec_scores(store: Store, config: Config, sequences: Sequences) -> Scores:
    """The row of a dataset: SASRec as the network, fused late as the recommender is."""
    return Fused(sasrec.scores(store, config, sequences), load_fusion(store.folder("fuse")), FUSED_BASELINE)


def evidence_scores(store: Store, config: Config, sequences: Sequences) -> Scores:
    """The row of a dataset: transitions and content, no network."""
    return Fused(None, load_fusion(store.folder("fuse")), EVIDENCE_MODEL)
