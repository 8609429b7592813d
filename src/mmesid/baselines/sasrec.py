"""SASRec as a row of the table: the encoder's weights, ranking by themselves."""

from mmesid.artifacts.encode import load_sasrec
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Sequences
from mmesid.config import Config
from mmesid.encoders.sasrec import build, scorer
from mmesid.evaluation.ranking import Scores


def scores(store: Store, config: Config, sequences: Sequences) -> Scores:
    """The row of a dataset, on the CPU.

    Args:
        store: of the dataset.
        config: the section `encode_collaborative` has the size.
        sequences: of the dataset.
    """
    model = build(sequences.n_items, config.encode_collaborative, config.protocol.history_length)
    model.load_state_dict(load_sasrec(store))
    return scorer(model.eval())
