import pytest
import torch

from mmesid.tokenizer.quantizer import ResidualQuantizer


@pytest.fixture
def latent():
    return torch.randn(64, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def quantizer(settings, latent):
    torch.manual_seed(0)
    made = ResidualQuantizer(settings)
    made.initialize(latent, seed=0)
    return made.eval()


def test_decoding_the_indices_gives_the_quantized(quantizer, latent):
    quantized, indices, _ = quantizer(latent)
    assert indices.shape == (64, 3)
    torch.testing.assert_close(quantizer.decode(indices), quantized)


def test_codes_are_the_nearest_of_each_residual(quantizer, latent):
    residual = latent
    for level, code in enumerate(quantizer(latent).indices.T):
        distance = torch.cdist(residual, quantizer.codebooks[level])
        assert torch.equal(distance.argmin(1), code)
        residual = residual - quantizer.codebooks[level][code]


def test_residual_norms_do_not_grow_after_kmeans(quantizer, latent):
    norms = quantizer.residuals(latent).square().sum(2).mean(1)  # (Q + 1,)
    assert (norms.diff() < 0).all()


def test_loss_by_hand(settings):
    # One level, codes at 0 and 4, latents 1 and 5: residuals of 1, loss = 1 + beta.
    quantizer = ResidualQuantizer(settings.model_copy(update={"levels": 1, "codes": 2, "dimension": 1})).eval()
    with torch.no_grad():
        quantizer.codebooks.copy_(torch.tensor([[[0.0], [4.0]]]))
    quantized, indices, loss = quantizer(torch.tensor([[1.0], [5.0]]))
    assert quantized.flatten().tolist() == [0, 4]
    assert indices.flatten().tolist() == [0, 1]
    assert loss.item() == pytest.approx(1 + settings.commitment)


def test_gradients_pass_straight_through_to_the_latent_and_the_loss_alone_moves_codebooks(quantizer, latent):
    latent.requires_grad_()
    quantized, _, loss = quantizer(latent)
    quantized.sum().backward()
    assert torch.equal(latent.grad, torch.ones_like(latent))
    assert quantizer.codebooks.grad is None
    loss.backward()
    assert quantizer.codebooks.grad.abs().sum((1, 2)).min() > 0


def test_permuting_a_batch_permutes_its_codes(quantizer, latent):
    order = torch.randperm(len(latent))
    assert torch.equal(quantizer(latent[order]).indices, quantizer(latent).indices[order])


def test_the_last_level_is_balanced_in_training_and_nearest_otherwise(quantizer, latent):
    skewed = latent * 0.05 + quantizer.codebooks[:, 0].sum(0).detach()  # all close to one semantic ID
    nearest = quantizer(skewed).indices[:, -1]
    balanced = quantizer.train()(skewed).indices[:, -1]
    assert torch.bincount(balanced, minlength=8).max() < torch.bincount(nearest, minlength=8).max()
    assert torch.equal(quantizer.eval()(skewed).indices[:, -1], nearest)


def test_revival_brings_dead_codes_into_use_and_leaves_the_others_alone(settings, quantizer, latent):
    with torch.no_grad():
        quantizer.codebooks[:, :2] = 100.0
    before = quantizer.codebooks.detach().clone()
    quantizer.train()
    for _ in range(settings.revive_after):
        quantizer(latent)
    generator = torch.Generator().manual_seed(0)
    moved = quantizer.revive(latent, generator)
    alive = quantizer.eval()(latent).indices
    assert moved >= 4  # two a level, but the balanced last level may use its own two
    assert quantizer.codebooks[:2, :2].abs().max() < 100
    assert all({0, 1} <= set(alive[:, level].tolist()) for level in range(2))
    assert torch.equal(quantizer.codebooks[0, 2:], before[0, 2:])
    assert quantizer.revive(latent, generator) == 0


def test_codes_in_use_are_never_revived(settings, quantizer, latent):
    quantizer.train()
    for _ in range(3 * settings.revive_after):
        quantizer(latent)
    used = quantizer.idle < settings.revive_after
    before = quantizer.codebooks.detach().clone()
    quantizer.revive(latent, torch.Generator().manual_seed(0))
    assert torch.equal(quantizer.codebooks[used], before[used])


def test_a_loaded_codebook_is_kept_and_loading_is_strict(settings, quantizer, latent):
    state = {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}
    assert set(state) == {"codebooks", "idle", "initialized"}
    loaded = ResidualQuantizer(settings)
    loaded.load_state_dict(state)
    loaded.initialize(latent + 5, seed=3)
    assert torch.equal(loaded.codebooks, quantizer.codebooks)
    del state["idle"]
    with pytest.raises(RuntimeError, match="idle"):
        ResidualQuantizer(settings).load_state_dict(state)


def test_random_codebooks_come_into_use_by_revival(settings, latent):
    quantizer = ResidualQuantizer(settings.model_copy(update={"kmeans_init": False, "revive_after": 3}))
    with torch.no_grad():
        quantizer.codebooks += 50
    quantizer.initialize(latent, seed=0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        quantizer(latent)
        quantizer.revive(latent, generator)
    assert len(quantizer.eval()(latent).indices[:, 0].unique()) > 4
