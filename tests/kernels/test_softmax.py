import pytest
import torch
from torch.nn import functional

from mmesid.kernels import softmax


@pytest.mark.parametrize("chunk_logits", [1, 60, 10**6])
def test_loss_and_gradients_equal_the_plain_cross_entropy(monkeypatch, chunk_logits):
    """Chunks of one target, of a few (with a rest), and all at once."""
    monkeypatch.setattr(softmax, "CHUNK_LOGITS", chunk_logits)
    generator = torch.Generator().manual_seed(0)
    users = torch.randn(11, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    table = torch.randn(21, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(1, 21, (11,), generator=generator)
    plain = 3 * functional.cross_entropy(users @ table[1:].T, targets - 1, reduction="sum")
    expected = torch.autograd.grad(plain, (users, table))
    ours = 3 * softmax.cross_entropy(users, table, targets)
    found = torch.autograd.grad(ours, (users, table))
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(found, expected)


def test_large_scores_do_not_overflow():
    users, table = torch.full((2, 4), 200.0), torch.full((4, 4), 200.0)
    table[1] = -200.0
    # Scores are -160,000 for item 1 and 160,000 for items 2 and 3, which share the probability: target 2 costs log 2.
    loss = softmax.cross_entropy(users, table, torch.tensor([2, 2]))
    assert loss.item() == pytest.approx(2 * torch.log(torch.tensor(2.0)).item())


def test_padding_is_no_class_and_gets_no_gradient():
    users = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    table = torch.randn(7, 4, generator=torch.Generator().manual_seed(2)).requires_grad_()
    targets = torch.tensor([1, 2, 3, 4, 6])
    loss = softmax.cross_entropy(users, table, targets)
    loss.backward()
    assert torch.equal(table.grad[0], torch.zeros(4))
    with torch.no_grad():
        table[0] = 100.0
    assert torch.equal(softmax.cross_entropy(users, table, targets), loss)


def test_products_in_bfloat16_stay_near_the_exact_ones(monkeypatch):
    """A product of bfloat16 has 8 bits: an error of about 1 / 256 of each score, and of each share of a gradient."""
    generator = torch.Generator().manual_seed(0)
    users = torch.randn(50, 16, generator=generator, requires_grad=True)
    table = torch.randn(301, 16, generator=generator).requires_grad_()
    targets = torch.randint(1, 301, (50,), generator=generator)
    plain = functional.cross_entropy(users @ table[1:].T, targets - 1, reduction="sum")
    expected = torch.autograd.grad(plain, (users, table))
    monkeypatch.setattr(softmax, "product_dtype", lambda *_: torch.bfloat16)
    loss = softmax.cross_entropy(users, table, targets)
    found = torch.autograd.grad(loss, (users, table))
    torch.testing.assert_close(loss, plain, rtol=0.01, atol=0)
    for gradient, exact in zip(found, expected, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - exact).norm() < 0.02 * exact.norm()


def test_only_single_precision_over_many_scores_on_a_cpu_that_can_is_rounded(monkeypatch):
    for able, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: {"avx512_bf16": able})
        assert softmax.product_dtype(torch.zeros(2048, 1), 4096, True) == expected
        assert softmax.product_dtype(torch.zeros(2048, 1), 4096, False) == torch.float32
        assert softmax.product_dtype(torch.zeros(2048, 1), 4095, True) == torch.float32
        assert softmax.product_dtype(torch.zeros(2048, 1, dtype=torch.float64), 4096, True) == torch.float64
        assert softmax.product_dtype(torch.zeros(2048, 1, device="meta"), 4096, True) == torch.float32
