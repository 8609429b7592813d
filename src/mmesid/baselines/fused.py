"""Rows with late fusion beside the main one: rivals and SASRec with the same evidence, and that without any network."""

from mmesid.artifacts.fuse import load_fusion
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Sequences
from mmesid.baselines import sasrec
from mmesid.baselines.rivals import RIVALS
from mmesid.config import Config
from mmesid.evaluation.ranking import Scores
from mmesid.fusion.fused import Fused
from mmesid.models import EVIDENCE_MODEL, FUSED_BASELINE, fused_late


def sasrec_scores(store: Store, config: Config, sequences: Sequences) -> Scores:
    """The row of a dataset: SASRec as the network, fused late as the recommender is."""
    return Fused(sasrec.scores(store, config, sequences), load_fusion(store.folder("fuse")), FUSED_BASELINE)


def rival_scores(name: str, store: Store, config: Config, sequences: Sequences) -> Scores | None:
    """The row of a dataset: a rival's network, fused late; None where it has not been listed."""
    network = RIVALS[name].scores(store, config, sequences)
    return network and Fused(network, load_fusion(store.folder("fuse")), fused_late(name))


def evidence_scores(store: Store, config: Config, sequences: Sequences) -> Scores:
    """The row of a dataset: transitions and content, no network."""
    return Fused(None, load_fusion(store.folder("fuse")), EVIDENCE_MODEL)
