import pytest
import torch

from mmesid.tokenizer import diagnostics
from mmesid.tokenizer.diagnostics import shared
from mmesid.tokenizer.model import Autoencoder


@pytest.fixture
def autoencoder(settings):
    """One level, codes at -1 and 1 among unused ones, both mappers the identity."""
    made = Autoencoder(1, settings.model_copy(update={"levels": 1, "codes": 4, "dimension": 1, "hidden": []}))
    with torch.no_grad():
        made.quantizer.codebooks.copy_(torch.tensor([[[-1.0], [1.0], [90.0], [91.0]]]))
        for mapper in (made.encoder, made.decoder):
            mapper.start(torch.eye(1), torch.zeros(1))
    return made.eval()


def diagnose(autoencoder, embeddings, batch_size):
    """By the nearest codes."""
    nearest = autoencoder(embeddings).quantized.indices
    return diagnostics.diagnose(autoencoder, embeddings, nearest, batch_size)


def test_shared_counts_every_row_that_has_a_double():
    assert shared(torch.tensor([[1, 2], [1, 2], [1, 3], [2, 2]])) == 0.5
    assert shared(torch.arange(4)[:, None]) == 0


def test_diagnostics_by_hand(autoencoder):
    # -1.5, -.5, .5, 1.5 fall on codes 0, 0, 1, 1: two of four codes used alike, every item shares its ID, errors are
    # .5^2 each, and the variance is (1.5^2 + .5^2) / 2 = 1.25.
    found = diagnose(autoencoder, torch.tensor([[-1.5], [-0.5], [0.5], [1.5]]), batch_size=4)
    assert found["collision_rate"] == 1
    assert (found["identical"], found["moved"]) == (0, 0)
    assert found["code_use"] == 0.5
    assert found["perplexity"] == pytest.approx(2)
    assert found["reconstruction"] == pytest.approx(0.25)
    assert found["residual_by_level"] == [pytest.approx(0.25 / 1.25)]


def test_a_moved_code_ends_a_collision_and_costs_its_distance(autoencoder):
    items = torch.tensor([[-1.0], [1.0], [1.0], [-1.0]])
    found = diagnostics.diagnose(autoencoder, items, torch.tensor([[0], [1], [2], [0]]), batch_size=4)
    assert (found["collision_rate"], found["moved"]) == (0.5, 0.25)
    assert found["reconstruction"] == pytest.approx(89**2 / 4)


def test_disagreement_is_the_share_of_items_that_balance_moves(autoencoder):
    # Four items lie nearest to the code at 1, none to the one at 90: balance over four codes leaves one in its place.
    found = diagnose(autoencoder, torch.tensor([[0.9], [1.0], [1.1], [1.2]]), batch_size=4)
    assert found["code_use"] == 0.25
    assert found["sinkhorn_disagreement"] == 0.75


def test_measuring_changes_nothing(autoencoder):
    before = {name: tensor.clone() for name, tensor in autoencoder.state_dict().items()}
    diagnose(autoencoder, torch.randn(12, 1), batch_size=5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in autoencoder.state_dict().items())
    assert not autoencoder.quantizer.training
