import numpy as np
import pytest
import torch

from mmesid.artifacts.values import Sequences
from mmesid.config import EncodeCollaborative, Protocol
from mmesid.encoders import sasrec_training
from mmesid.encoders.sasrec import Sasrec, build, scorer
from mmesid.errors import DataError
from mmesid.evaluation.metrics import ndcg
from mmesid.evaluation.ranking import checkpoint_users, judge
from tests.logs import silent

N_ITEMS = 40
PROTOCOL = Protocol(exclude_history=True, history_length=6)
SETTINGS = EncodeCollaborative(
    encoder="sasrec",
    dimension=16,
    blocks=1,
    heads=1,
    dropout=0.1,
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


def repeats(n_users: int = 120, n_items: int = N_ITEMS) -> Sequences:
    """Every user takes two items by turns, so that the next one is the last but one."""
    pairs = np.random.default_rng(0).permuted(np.tile(np.arange(1, n_items + 1), (n_users, 1)), axis=1)[:, :2]
    return Sequences([f"u{user}" for user in range(n_users)], [np.tile(pair, 5) for pair in pairs], n_items)


def train(
    sequences: Sequences, seed: int = 0, protocol: Protocol = PROTOCOL, **changes
) -> sasrec_training.SasrecResult:
    settings = SETTINGS.model_copy(update=changes)
    return sasrec_training.train(sequences, settings, protocol, seed, "cpu", silent)


def restored(result: sasrec_training.SasrecResult) -> Sasrec:
    model = build(N_ITEMS, SETTINGS, PROTOCOL.history_length)
    model.load_state_dict(result.weights)
    return model


def selecting_score(model: Sasrec, sequences: Sequences, exclude_history: bool) -> float:
    """nDCG@10 of the users that select checkpoints."""
    users = np.flatnonzero(checkpoint_users(sequences.user_ids))
    histories = [sequences.history("valid")[user] for user in users]
    ranks = judge(scorer(model), histories, sequences.target("valid")[users], exclude_history).ranks
    return float(ndcg(ranks, 10).mean())


@pytest.fixture(scope="module")
def result() -> sasrec_training.SasrecResult:
    return train(cycles())


def test_a_planted_pattern_is_found(result):
    sequences = cycles()
    ranks = judge(scorer(restored(result)), sequences.history("test"), sequences.target("test"), True).ranks
    # Chance: nDCG@10 of a uniform rank among some 30 candidates is about 4.5 / 30 = .15 (4.54 = sum of the ten gains).
    assert ndcg(ranks, 10).mean() > 0.6


def test_padding_and_items_without_training_interactions_are_masked_zeros(result):
    assert not result.embedding.present[0]
    assert not result.embedding.present[N_ITEMS]
    assert not result.embedding.matrix[~result.embedding.present].any()
    assert result.embedding.matrix[result.embedding.present].any(axis=1).all()
    assert not result.weights["items.weight"][0].any()


def test_padding_is_never_trained_even_by_weight_decay_or_from_a_start_off_zero():
    model = build(N_ITEMS, SETTINGS, PROTOCOL.history_length)
    with torch.no_grad():
        model.items.weight[0] = 1.0
    trainer = sasrec_training._Trainer(model, cycles(), SETTINGS, PROTOCOL, 0)
    trainer.epoch(silent)
    assert torch.equal(model.items.weight[0], torch.ones(16))


def test_the_best_epoch_is_kept(result):
    best = max(entry["valid_ndcg_at_10"] for entry in result.curves)
    assert selecting_score(restored(result), cycles(), exclude_history=True) == pytest.approx(best)


@pytest.mark.parametrize("exclude_history", [True, False])
def test_epochs_are_judged_under_the_protocol(exclude_history):
    sequences = repeats()
    protocol = PROTOCOL.model_copy(update={"exclude_history": exclude_history})
    found = train(sequences, protocol=protocol, epochs=3)
    best = max(entry["valid_ndcg_at_10"] for entry in found.curves)
    assert selecting_score(restored(found), sequences, exclude_history) == pytest.approx(best)
    assert selecting_score(restored(found), sequences, not exclude_history) != pytest.approx(best)


def test_what_is_a_candidate_decides_about_the_early_stop_and_not_about_the_training():
    """A repeat is hard to rank where the other item of the pair, almost as likely, is a rival."""
    apart, among = (
        train(repeats(), protocol=PROTOCOL.model_copy(update={"exclude_history": exclude}), epochs=2)
        for exclude in (True, False)
    )
    assert [entry["loss"] for entry in apart.curves] == [entry["loss"] for entry in among.curves]
    scores = [[entry["valid_ndcg_at_10"] for entry in found.curves] for found in (apart, among)]
    assert all(without > with_rivals for without, with_rivals in zip(*scores, strict=True))


def test_as_many_inputs_as_the_protocol_says_are_trained_on():
    trainer = sasrec_training._Trainer(build(N_ITEMS, SETTINGS, 6), cycles(), SETTINGS, PROTOCOL, 0)
    assert max(len(window.items) for window in trainer.windows) == 6


def test_the_table_and_the_gains_never_decay():
    """With a decay that would halve a weight in one step, only matrices of the blocks shrink."""
    model = build(N_ITEMS, SETTINGS, PROTOCOL.history_length)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = sasrec_training._optimizer(model, SETTINGS.model_copy(update={"weight_decay": 50.0}))
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in model.named_parameters():
        factor = 0.5 if name.startswith("blocks") and weight.ndim == 2 else 1.0  # 1 - rate .01 * decay 50
        torch.testing.assert_close(weight.detach(), factor * before[name])


def test_the_rate_rises_then_falls_to_nothing():
    trainer = sasrec_training._Trainer(build(N_ITEMS, SETTINGS, 6), cycles(), SETTINGS, PROTOCOL, 0)
    rates = [trainer._rate(step) for step in range(trainer.steps + 1)]
    assert rates[0] == pytest.approx(1 / sasrec_training.WARMUP)
    height = int(np.argmax(rates))
    assert height == sasrec_training.WARMUP - 1
    assert np.all(np.diff(rates[height:]) < 0)
    assert rates[-1] == pytest.approx(0)


def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    first, again, other = (train(cycles(), seed, epochs=1) for seed in (3, 3, 4))
    assert all(torch.equal(first.weights[name], again.weights[name]) for name in first.weights)
    assert not torch.equal(first.weights["items.weight"], other.weights["items.weight"])


def test_training_stops_when_patience_runs_out():
    assert len(train(cycles(), patience=1, epochs=40, learning_rate=1e-9).curves) < 5


def test_progress_and_losses_are_logged():
    entries: list[dict[str, float]] = []
    short = SETTINGS.model_copy(update={"epochs": 2})
    sasrec_training.train(cycles(), short, PROTOCOL, 0, "cpu", lambda metrics, step: entries.append(metrics))
    assert entries[-1]["progress"] == 1
    assert {"loss", "valid_ndcg_at_10"} <= entries[-1].keys()


def test_users_with_too_short_histories_are_a_clear_error():
    sequences = Sequences(["a", "b"], [np.array([1, 2, 3]), np.array([2, 3, 1])], 3)
    with pytest.raises(DataError, match="min_user_interactions"):
        train(sequences)


@pytest.mark.parametrize(("user", "halves"), [("message digest", "0 and 1"), ("u2", "1 and 0")])
def test_users_who_are_all_in_one_half_are_a_clear_error(user, halves):
    sequences = cycles(1)._replace(user_ids=[user])
    with pytest.raises(DataError, match=f"{halves} of the 1 .*prepare.min_user_interactions"):
        train(sequences)
