"""SASRec as a row of the table: the encoder's weights, ranking by themselves."""

from mmesid.artifacts.encode import load_sasrec
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Sequences
from mmesid.config import Config
from mmesid.encoders.sasrec import build, scorer
from mmesid.evaluation.ranking import Scores

STAGE = "encode_collaborative"


def scores(store: Store, config: Config, sequences: Sequences, stage: str = STAGE) -> Scores:
    """The row of a dataset, on the CPU.

    Args:
        store: of the dataset.
        config: the stage's section has the size.
        sequences: of the dataset.
        stage: that trained it.
    """
    model = build(sequences.n_items, getattr(config, stage), config.protocol.history_length)
    model.load_state_dict(load_sasrec(store, stage))
    return scorer(model.eval())
