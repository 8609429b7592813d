import numpy as np
import pytest
import torch

from mmesid.artifacts.values import Sequences
from mmesid.config import EncodeCollaborative
from mmesid.encoders import sasrec_training
from mmesid.errors import DataError
from mmesid.evaluation import metrics

N_ITEMS = 40
SETTINGS = EncodeCollaborative(
    encoder="sasrec",
    dimension=16,
    blocks=1,
    heads=1,
    dropout=0.1,
    history_length=6,
    learning_rate=0.01,
    weight_decay=0.0,
    batch_users=32,
    epochs=12,
    patience=12,
)


def cycles(n_users: int = 120, n_items: int = N_ITEMS) -> Sequences:
    """Every user walks the items in a circle, three at a time, from a start of their own; item 40 is never taken."""
    rng = np.random.default_rng(0)
    starts, lengths = rng.integers(0, n_items - 1, n_users), rng.integers(5, 12, n_users)
    items = [(start + 3 * np.arange(length)) % (n_items - 1) + 1 for start, length in zip(starts, lengths, strict=True)]
    return Sequences([f"u{user}" for user in range(n_users)], items, n_items)


def silent(metrics: dict[str, float], step: int) -> None:
    pass


@pytest.fixture(scope="module")
def result() -> sasrec_training.SasrecResult:
    return sasrec_training.train(cycles(), SETTINGS, 0, "cpu", silent)


def test_a_planted_pattern_is_found(result):
    ranks = result.ranks[result.ranks["split"] == "test"]["rank"].to_numpy()
    # Chance: nDCG@10 of a uniform rank among some 30 candidates is about 4.5 / 30 = .15 (4.54 = sum of the ten gains).
    assert metrics.summarize(ranks)["ndcg_at_10"] > 0.6


def test_ranks_name_every_user_once_per_split(result):
    assert list(result.ranks.columns) == ["user", "split", "model", "rank"]
    for split in ("valid", "test"):
        assert result.ranks[result.ranks["split"] == split]["user"].tolist() == list(range(120))
    assert set(result.ranks["model"]) == {"sasrec"}
    assert result.ranks["rank"].between(1, N_ITEMS).all()


def test_padding_and_items_without_training_interactions_are_masked_zeros(result):
    assert not result.embedding.present[0]
    assert not result.embedding.present[N_ITEMS]
    assert not result.embedding.matrix[~result.embedding.present].any()
    assert result.embedding.matrix[result.embedding.present].any(axis=1).all()
    assert not result.weights["items.weight"][0].any()


def test_padding_is_never_trained_even_by_weight_decay_or_from_a_start_off_zero():
    model = sasrec_training.build(N_ITEMS, SETTINGS)
    with torch.no_grad():
        model.items.weight[0] = 1.0
    trainer = sasrec_training._Trainer(model, cycles(), SETTINGS, 0)
    trainer.epoch(silent)
    assert torch.equal(model.items.weight[0], torch.ones(16))


def test_the_reported_ranks_are_those_of_the_saved_weights(result):
    model = sasrec_training.build(N_ITEMS, SETTINGS)
    model.load_state_dict(result.weights)
    sequences = cycles()
    again = sasrec_training.rank(model, sequences.history("test"), sequences.target("test"), True)
    assert again.tolist() == result.ranks[result.ranks["split"] == "test"]["rank"].tolist()


def test_the_best_epoch_is_kept(result):
    best = max(entry["valid_ndcg_at_10"] for entry in result.history)
    model = sasrec_training.build(N_ITEMS, SETTINGS)
    model.load_state_dict(result.weights)
    valid = result.ranks[result.ranks["split"] == "valid"]["rank"].to_numpy()
    chosen = sasrec_training.ranking.checkpoint_users(cycles().user_ids)
    assert metrics.summarize(valid[chosen])["ndcg_at_10"] == pytest.approx(best)


def test_permuting_users_permutes_ranks_and_batches_do_not_matter(result, monkeypatch):
    model = sasrec_training.build(N_ITEMS, SETTINGS)
    model.load_state_dict(result.weights)
    sequences = cycles()
    histories, targets = sequences.history("valid"), sequences.target("valid")
    whole = sasrec_training.rank(model, histories, targets, True)
    order = np.random.default_rng(1).permutation(len(targets))
    monkeypatch.setattr(sasrec_training, "SCORES", 7 * (N_ITEMS + 1))
    permuted = sasrec_training.rank(model, [histories[user] for user in order], targets[order], True)
    np.testing.assert_array_equal(permuted, whole[order])


def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    short = SETTINGS.model_copy(update={"epochs": 1})
    first, again, other = (sasrec_training.train(cycles(), short, seed, "cpu", silent) for seed in (3, 3, 4))
    assert all(torch.equal(first.weights[name], again.weights[name]) for name in first.weights)
    assert not torch.equal(first.weights["items.weight"], other.weights["items.weight"])


def test_training_stops_when_patience_runs_out():
    stuck = SETTINGS.model_copy(update={"patience": 1, "epochs": 40, "learning_rate": 1e-9})
    assert len(sasrec_training.train(cycles(), stuck, 0, "cpu", silent).history) < 5


def test_progress_and_losses_are_logged():
    entries: list[dict[str, float]] = []
    short = SETTINGS.model_copy(update={"epochs": 2})
    sasrec_training.train(cycles(), short, 0, "cpu", lambda metrics, step: entries.append(metrics))
    assert entries[-1]["progress"] == 1
    assert {"loss", "valid_ndcg_at_10"} <= entries[-1].keys()


def test_users_with_too_short_histories_are_a_clear_error():
    sequences = Sequences(["a", "b"], [np.array([1, 2, 3]), np.array([2, 3, 1])], 3)
    with pytest.raises(DataError, match="min_user_interactions"):
        sasrec_training.train(sequences, SETTINGS, 0, "cpu", silent)
