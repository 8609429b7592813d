from itertools import product

import numpy as np
import pytest
import torch

from mmesid.artifacts.values import Embedding
from mmesid.errors import DataError
from mmesid.tokenizer.losses import ALIGNMENT, RECONSTRUCTION
from mmesid.tokenizer.model import MMRQVAE
from mmesid.tokenizer.training import train


@pytest.fixture
def trained(embeddings, settings, silent):
    return train(embeddings, settings, 0, "cpu", silent)


def test_planted_clusters_are_recovered(embeddings, settings, clusters, silent):
    """With as many first-level codes as clusters, a code names a cluster."""
    result = train(embeddings, settings.model_copy(update={"codes": 6}), 0, "cpu", silent)
    for modality, codes in result.ids.codes.items():
        here = embeddings[modality].present[1:]
        first, own = codes[1:, 0][here], clusters[here]
        pure = sum(np.bincount(own[first == code]).max() for code in np.unique(first))
        assert pure / here.sum() > 0.95, modality


def test_ids_have_a_row_per_item_and_zeros_where_absent(trained, embeddings, settings):
    for modality, (matrix, present) in embeddings.items():
        codes = trained.ids.codes[modality]
        assert codes.shape == (len(matrix), settings.levels)
        assert codes.dtype == np.int64
        assert not codes[~present].any()
        assert codes.max() < settings.codes
        assert np.array_equal(trained.ids.present[modality], present)
        assert trained.ids.codebooks[modality].shape == (settings.levels, settings.codes, settings.dimension)


def test_the_saved_weights_reproduce_the_ids_and_hold_the_codebooks(embeddings, settings, silent):
    settings = settings.model_copy(update={"distinct": False})
    trained = train(embeddings, settings, 0, "cpu", silent)
    model = MMRQVAE({name: e.matrix.shape[1] for name, e in embeddings.items()}, settings)
    model.load_state_dict(trained.weights)
    model.eval()
    for name, (matrix, present) in embeddings.items():
        indices = model.autoencoders[name](torch.from_numpy(matrix[present])).quantized.indices
        assert np.array_equal(indices.numpy(), trained.ids.codes[name][present])
        books = trained.weights[f"autoencoders.{name}.quantizer.codebooks"].numpy()
        assert np.array_equal(books, trained.ids.codebooks[name])


def test_ids_are_told_apart_by_the_last_code_alone(trained, embeddings, settings, silent):
    shared = train(embeddings, settings.model_copy(update={"distinct": False}), 0, "cpu", silent)
    for name, codes in trained.ids.codes.items():
        nearest, here = shared.ids.codes[name], trained.ids.present[name]
        assert np.array_equal(codes[:, :-1], nearest[:, :-1])
        assert trained.diagnostics[name]["moved"] == pytest.approx((codes != nearest)[here].any(1).mean())
        assert trained.diagnostics[name]["collision_rate"] < shared.diagnostics[name]["collision_rate"]
        assert shared.diagnostics[name]["moved"] == 0


def test_the_seed_decides_and_the_global_generator_does_not(embeddings, settings, silent, trained):
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = train(embeddings, settings, 0, "cpu", silent)
    assert torch.equal(torch.get_rng_state(), state)
    other = train(embeddings, settings, 1, "cpu", silent)
    assert again.curves == trained.curves
    assert all(torch.equal(again.weights[name], trained.weights[name]) for name in trained.weights)
    assert other.curves != trained.curves


def test_an_absent_row_may_hold_anything(embeddings, settings, silent, trained):
    matrix, present = embeddings["text"]
    noisy = {**embeddings, "text": Embedding(np.where(present[:, None], matrix, np.float32(777)), present)}
    result = train(noisy, settings, 0, "cpu", silent)
    assert result.curves == trained.curves
    assert np.array_equal(result.ids.codes["text"], trained.ids.codes["text"])


@pytest.mark.parametrize(("reconstruction", "alignment"), product(RECONSTRUCTION, ALIGNMENT))
def test_every_pair_of_losses_trains_downhill(reconstruction, alignment, embeddings, settings, silent):
    chosen = {"reconstruction": reconstruction, "alignment": alignment, "alignment_weight": 0.1, "epochs": 8}
    # Without Sinkhorn and k-means the start is poor and the loss smooth, so that it has to fall.
    plain = {"sinkhorn_epsilon": 0.0, "kmeans_init": False, "revive_after": 1000}
    curves = train(embeddings, settings.model_copy(update=chosen | plain), 0, "cpu", silent).curves
    assert curves[-1]["loss"] < curves[0]["loss"]
    assert (curves[-1]["alignment"] == 0) == (alignment == "none")


def test_a_single_modality_is_enough(embeddings, settings, silent):
    result = train({"text": embeddings["text"]}, settings, 0, "cpu", silent)
    assert set(result.ids.codes) == set(result.diagnostics) == {"text"}
    assert result.curves[-1]["alignment"] == 0


def test_diagnostics_and_progress_reach_the_log(embeddings, settings):
    logged = []
    result = train(embeddings, settings, 0, "cpu", lambda metrics, step: logged.append((step, metrics)))
    assert [step for step, _ in logged] == [entry["step"] for entry in result.curves]
    assert [metrics["progress"] for _, metrics in logged][-1] == 1
    for found in result.diagnostics.values():
        assert {"collision_rate", "code_use", "perplexity", "reconstruction", "sinkhorn_disagreement"} <= set(found)
        assert 0 < found["reconstruction"] < 0.2  # six tight clusters hold most of the variance
        assert found["perplexity"] > 3


def test_fewer_items_than_codes_names_the_key(embeddings, settings, silent):
    with pytest.raises(DataError, match=r"96 have a collaborative embedding: set tokenize\.codes to 96 or less"):
        train(embeddings, settings.model_copy(update={"codes": 97}), 0, "cpu", silent)


def test_a_single_item_gets_no_advice_that_the_key_refuses(embeddings, settings, silent):
    matrix, _ = embeddings["image"]
    alone = Embedding(matrix, np.arange(len(matrix)) == 1)
    with pytest.raises(DataError, match=r"1 have a image embedding: leave this modality out"):
        train({**embeddings, "image": alone}, settings, 0, "cpu", silent)


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_a_constant_embedding_is_refused(embeddings, settings, silent, noise):
    """Also where the last bits differ, as they do between batches of another size."""
    present = embeddings["text"].present
    matrix = np.float32(1) + np.float32(noise) * np.random.default_rng(0).standard_normal((len(present), 5))
    constant = Embedding(matrix.astype(np.float32), present)
    with pytest.raises(DataError, match="same text embedding"):
        train({**embeddings, "text": constant}, settings, 0, "cpu", silent)
