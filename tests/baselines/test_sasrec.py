"""SASRec's row is the encoder that a stage has trained."""

import pytest
import torch

from mmesid.artifacts.encode import load_sasrec
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Prepared
from mmesid.baselines import sasrec
from mmesid.config import Config
from mmesid.encoders.sasrec import build, scorer
from mmesid.errors import ArtifactError


def test_the_row_ranks_by_the_saved_weights(store: Store, settings: Config, prepared: Prepared) -> None:
    model = build(prepared.sequences.n_items, settings.encode_collaborative, settings.protocol.history_length)
    model.load_state_dict(load_sasrec(store))
    histories = prepared.sequences.history("valid")
    found = sasrec.scores(store, settings, prepared.sequences)(histories)
    assert torch.equal(found, scorer(model.eval())(histories))


def test_weights_that_were_not_trained_are_an_error_that_says_so(
    bare: Store, settings: Config, prepared: Prepared
) -> None:
    with pytest.raises(ArtifactError, match="dvc repro"):
        sasrec.scores(bare, settings, prepared.sequences)
