"""The chunked loss is the plain one; the sampled one estimates its partition function without bias."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmesid.config import sizes
from mmesid.recommender import loss
from mmesid.recommender.loss import Factors, Negatives, NegativeSampler

N, G = 23, 7


@pytest.fixture(params=["weighted", "plain"])
def factors(request) -> Factors:
    """Two trained products and one frozen; the frozen table has no gradient, as a modality's embedding."""
    torch.manual_seed(0)
    users = tuple(torch.randn(G, width, requires_grad=True) for width in (5, 3, 2))
    items = tuple(torch.randn(N + 1, width, requires_grad=width != 3) for width in (5, 3, 2))
    weights = torch.rand(N + 1, 3, requires_grad=True) if request.param == "weighted" else None
    return Factors(users, items, weights)


LABELS = torch.tensor([1, 23, 4, 4, 12, 22, 9])


def _gradients(value, factors):
    tensors = [t for t in (*factors.users, *factors.items, factors.weights) if t is not None and t.requires_grad]
    return torch.autograd.grad(value, tensors)


def _drawn(factors: Factors, labels: torch.Tensor, negatives: Negatives) -> Factors:
    """The targets' own items and behind them the negatives."""
    rows = torch.cat([labels, negatives.items])
    weights = None if factors.weights is None else factors.weights[rows]
    return Factors(factors.users, tuple(item[rows] for item in factors.items), weights)


@pytest.mark.parametrize("chunk", [1, 5, 22, 23, 100])
def test_chunks_change_neither_the_loss_nor_a_gradient(factors, chunk):
    plain = F.cross_entropy(loss.scores(factors)[:, 1:], LABELS - 1, reduction="sum")
    chunked = loss.chunked_cross_entropy(factors, LABELS, chunk)
    assert chunked.item() == pytest.approx(plain.item(), rel=1e-5)
    for found, wanted in zip(_gradients(2 * chunked, factors), _gradients(2 * plain, factors), strict=True):
        assert torch.allclose(found, wanted, atol=1e-5, rtol=1e-4)


def test_memory_decides_by_count(factors, monkeypatch):
    """Three arrays of G x (N + 1) floats fit into 3 * 7 * 24 * 4 = 2,016 bytes and not into one byte less."""
    chunks = []
    monkeypatch.setattr(loss, "chunked_cross_entropy", lambda factors, labels, chunk: chunks.append(chunk))
    loss.cross_entropy(factors, LABELS, 2016)
    assert chunks == []
    loss.cross_entropy(factors, LABELS, 2015)
    loss.cross_entropy(factors, LABELS, 1)
    assert chunks == [23, 1]


def test_only_autocast_rounds(monkeypatch):
    """`finetune.precision: float32` is what it says, on a processor that multiplies bfloat16 as well."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(sizes, "MANY_SCORES", 1)
    torch.manual_seed(0)
    users, items = torch.randn(G, 5), torch.randn(N + 1, 5)
    plain = F.cross_entropy(users @ items[1:].T, LABELS - 1, reduction="sum").item()
    one = Factors((users,), (items,), None)
    assert loss.cross_entropy(one, LABELS, 2**30).item() == pytest.approx(plain, rel=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss.cross_entropy(one, LABELS, 2**30).item() != pytest.approx(plain, rel=1e-6)


def test_one_factor_takes_one_pass_and_says_the_same():
    torch.manual_seed(0)
    one = Factors((torch.randn(G, 5, requires_grad=True),), (torch.randn(N + 1, 5, requires_grad=True),), None)
    plain = F.cross_entropy(loss.scores(one)[:, 1:], LABELS - 1, reduction="sum")
    found = loss.cross_entropy(one, LABELS, 1)
    assert found.item() == pytest.approx(plain.item(), rel=1e-6)
    for gradient, wanted in zip(_gradients(2 * found, one), _gradients(2 * plain, one), strict=True):
        assert torch.allclose(gradient, wanted, atol=1e-5, rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = loss.cross_entropy(one, LABELS, 1)
    assert narrow.dtype == torch.float32
    assert narrow.item() == pytest.approx(plain.item(), rel=1e-2)
    assert narrow.item() != plain.item()


def test_padding_is_no_class(factors):
    """A padding row with enormous scores moves no loss."""
    with torch.no_grad():
        factors.items[0][0] = 1e4
    for value in (loss.cross_entropy(factors, LABELS, 2**30), loss.chunked_cross_entropy(factors, LABELS, 6)):
        assert value.item() < 1e3
        gradients = _gradients(value, factors)
        assert gradients[3].shape == (N + 1, 5)
        assert gradients[3][0].abs().max() == 0


def test_sampled_partition_function_is_unbiased(factors):
    sampler = NegativeSampler(np.arange(N + 1), count=16)
    wanted = loss.scores(factors).exp().sum(1)
    own = loss.scores(factors)[torch.arange(G), LABELS]
    total = torch.zeros(G)
    for draw in range(400):
        negatives = sampler.draw((0, draw), torch.device("cpu"))
        for target in range(G):
            one = Factors(tuple(user[target : target + 1] for user in factors.users), factors.items, factors.weights)
            label = LABELS[target : target + 1]
            value = loss.sampled_cross_entropy(_drawn(one, label, negatives), label, negatives)
            total[target] += (value + own[target]).exp().detach()
    assert torch.allclose(total / 400, wanted.detach(), rtol=0.15)


def test_sampling_every_item_once_is_exact(factors):
    everything = Negatives(torch.arange(1, N + 1), torch.zeros(N))
    sampled = loss.sampled_cross_entropy(_drawn(factors, LABELS, everything), LABELS, everything)
    plain = loss.cross_entropy(factors, LABELS, 2**30)
    assert sampled.item() == pytest.approx(plain.item(), rel=1e-5)
    for found, wanted in zip(_gradients(sampled, factors), _gradients(plain, factors), strict=True):
        assert torch.allclose(found, wanted, atol=1e-5, rtol=1e-4)


def test_items_are_drawn_as_often_as_expected():
    sampler = NegativeSampler(np.array([0, 0, 15, 80]), count=200_000)
    drawn = np.bincount(sampler.draw((1,), torch.device("cpu")).items.numpy(), minlength=4)
    assert drawn[0] == 0
    weight = np.array([1, 16, 81]) ** 0.75  # 1, 8, 27
    assert drawn[1:] / 200_000 == pytest.approx(weight / 36, abs=0.005)


def test_the_seed_decides():
    sampler = NegativeSampler(np.arange(N + 1), count=8)
    first, same, other = (sampler.draw((3, step), torch.device("cpu")).items for step in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
