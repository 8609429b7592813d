import pytest
import torch

from mmesid.kernels.dropout import Dropout, dropout


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_as_many_entries_as_asked_are_dropped_and_the_mean_stays(rate):
    torch.manual_seed(0)
    found = dropout(torch.ones(400, 501), rate, training=True)
    assert (found == 0).float().mean().item() == pytest.approx(rate, abs=0.004)
    assert found.mean().item() == pytest.approx(1, abs=0.004)
    assert found.unique().numel() == 2


def test_entries_are_dropped_independently_wherever_they_stand():
    torch.manual_seed(0)
    kept = dropout(torch.ones(20_000, 8), 0.5, training=True) / 2
    assert (kept.mean(0) - 0.5).abs().max() < 0.02  # eight entries share a number, and none of its bytes is special
    assert (torch.corrcoef(kept.T) - torch.eye(8)).abs().max() < 0.03


def test_nothing_happens_without_a_rate_or_outside_training():
    x = torch.randn(3, 5)
    assert torch.equal(dropout(x, 0.5, training=False), x)
    assert torch.equal(dropout(x, 0.0, training=True), x)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert not dropout(x, 1.0, training=True).any()


def test_the_seed_fixes_it_and_gradients_pass_where_entries_do():
    x = torch.randn(7, 9, dtype=torch.bfloat16, requires_grad=True)
    torch.manual_seed(3)
    once = Dropout(0.3)(x)
    torch.manual_seed(3)
    assert torch.equal(once, Dropout(0.3)(x))
    assert once.dtype == torch.bfloat16
    once.float().sum().backward()
    assert torch.equal(x.grad != 0, once != 0)
