"""The content transformer knows items by their content alone: it learns from it, and scores what nobody has taken."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mmesid import config
from mmesid.artifacts.baselines import save_rivals
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Embedding, Prepared, Sequences
from mmesid.artifacts.windows import training_windows
from mmesid.baselines import content_transformer, fused
from mmesid.baselines.training import Trained
from mmesid.config import Config
from mmesid.encoders import sasrec_training
from mmesid.encoders.batching import collate
from mmesid.encoders.sasrec import Transformer, scorer
from mmesid.errors import ArtifactError, ConfigError
from mmesid.evaluation.metrics import ndcg
from mmesid.evaluation.ranking import judge
from mmesid.kernels.softmax import cross_entropy
from tests import tiny_world

N_ITEMS, UNSEEN = 39, 20
Content = dict[str, Embedding]


def small(**changes: object) -> Config:
    """The defaults, small; quick to learn."""
    whole = config.load("sample", tiny_world.PROJECT)
    values = {"dimension": 16, "hidden": 32, "blocks": 1, "dropout": 0.1, "learning_rate": 0.01, "warmup_steps": 5}
    rival = whole.baselines.content_transformer.model_copy(update=values | {"epochs": 8, **changes})
    baselines = whole.baselines.model_copy(update={"content_transformer": rival})
    protocol = whole.protocol.model_copy(update={"history_length": 6})
    return whole.model_copy(update={"baselines": baselines, "protocol": protocol})


def circle(n_users: int = 250) -> Sequences:
    """Every user walks the items in a circle, three at a time; item UNSEEN is nobody's training item."""
    draw = np.random.default_rng(0)
    starts, lengths = draw.integers(0, N_ITEMS, n_users), draw.integers(5, 12, n_users)
    walks = [(start + 3 * np.arange(length)) % N_ITEMS + 1 for start, length in zip(starts, lengths, strict=True)]
    kept = [walk for walk in walks if UNSEEN not in walk[:-2]]
    return Sequences([f"u{user}" for user in range(len(kept))], kept, N_ITEMS)


def places() -> Content:
    """Where on the circle an item lies, told by coarse waves in the text and fine ones in the picture, off center."""
    turns = 2 * np.pi * np.arange(N_ITEMS) / N_ITEMS
    present = np.arange(N_ITEMS + 1) > 0
    waves = {"text": (1, 2), "image": (3, 5)}
    parts = {m: [wave(k * turns) + 2 for k in ks for wave in (np.sin, np.cos)] for m, ks in waves.items()}
    matrices = {m: np.stack([np.concatenate([[0], row]) for row in part], axis=1) for m, part in parts.items()}
    return {m: Embedding(matrix.astype(np.float32), present) for m, matrix in matrices.items()}


def train(sequences: Sequences, content: Content, settings: Config) -> Trained:
    return content_transformer.train(sequences, content, settings, "cpu", lambda metrics, step: None)


def build(content: Content, settings: Config) -> Transformer:
    return content_transformer.build(content, settings.baselines.content_transformer, 6)


def restored(found: Trained, content: Content, settings: Config) -> Transformer:
    model = build(content, settings)
    model.load_state_dict(found.weights)
    return model.eval()


@pytest.fixture(scope="module")
def found() -> Trained:
    return train(circle(), places(), small())


def test_a_planted_pattern_is_found(found: Trained) -> None:
    sequences = circle()
    score = scorer(restored(found, places(), small()))
    ranks = judge(score, sequences.history("test"), sequences.target("test"), exclude_history=True).ranks
    assert ndcg(ranks, 10).mean() > 0.6  # chance is about .15, see test_sasrec_training
    assert [entry["epoch"] for entry in found.curves] == list(range(1, 9))
    assert found.curves[-1]["loss"] < found.curves[0]["loss"]


def test_an_item_that_nobody_took_in_training_is_ranked_by_its_content(found: Trained) -> None:
    sequences = circle()
    assert sequences.train_frequency()[UNSEEN] == 0
    score = scorer(restored(found, places(), small()))
    before = [np.array([UNSEEN - 3 * step for step in range(length, 0, -1)]) for length in (3, 4, 5, 6)]
    ranks = judge(score, before, np.full(len(before), UNSEEN), exclude_history=True).ranks
    assert ranks.max() <= 5, "of 33 candidates or more"


def test_no_weight_belongs_to_one_item_and_content_is_not_saved(found: Trained) -> None:
    assert not [name for name, weight in found.weights.items() if {N_ITEMS, N_ITEMS + 1} & set(weight.shape)]
    assert {name.split(".")[2] for name in found.weights if "modalities" in name} == {"text", "image"}


def test_padding_is_no_class_and_gets_no_gradient() -> None:
    model = build(places(), small())
    vectors = model.items.vectors()
    for part in vectors:
        part.retain_grad()
    batch = collate(training_windows(circle().train(), 6)[:100])
    assert (batch.items == 0).any()
    counted = batch.targets > 0
    cross_entropy(model(batch.items, vectors)[counted], vectors.classes, batch.targets[counted]).backward()
    for part in vectors:
        assert not part.grad[0].any()
        assert part.grad[1:].any(dim=1).all()
    assert (scorer(model)([np.array([1, 2])])[:, 0] == -torch.inf).all()


def test_padding_changes_no_score(found: Trained) -> None:
    score = scorer(restored(found, places(), small()))
    long, short = np.array([1, 4, 7, 10, 13]), np.array([8])
    together = score([long, short])
    torch.testing.assert_close(together[1:], score([short]))
    torch.testing.assert_close(together[:1], score([long]))


def test_absent_content_is_left_out_and_items_without_any_are_alike() -> None:
    content = places()
    for modality, lacking in (("text", [5, 6, 7]), ("image", [6, 7, 8])):
        there = content[modality].present.copy()
        there[lacking] = False
        content[modality] = Embedding(content[modality].matrix * there[:, None], there)
    model = build(content, small())
    with torch.no_grad():
        vectors, classes = model.items.vectors()
        text, image = (model.items.modalities[modality]() for modality in ("text", "image"))
    torch.testing.assert_close(vectors[5], image[5])
    torch.testing.assert_close(vectors[8], text[8])
    torch.testing.assert_close(vectors[9], text[9] + image[9])
    torch.testing.assert_close(vectors[6], model.items.nothing.detach())
    assert torch.equal(vectors[6], vectors[7])
    torch.testing.assert_close(classes.norm(dim=1), torch.ones(N_ITEMS + 1))


def test_scores_are_cosines_over_the_temperature(found: Trained) -> None:
    scores = scorer(restored(found, places(), small()))(circle().history("test"))[:, 1:]
    assert scores.abs().max() <= 1 / 0.07 + 1e-4


def test_matrices_decay_and_nothing_else_does() -> None:
    model, settings = build(places(), small()), small(weight_decay=50.0).baselines.content_transformer
    decayed, rest = sasrec_training._optimizer(model, settings).param_groups
    names = {id(weight): name for name, weight in model.named_parameters()}
    assert (decayed["weight_decay"], rest["weight_decay"]) == (50.0, 0.0)
    assert {names[id(weight)].rpartition(".")[2] for weight in decayed["params"]} == {"weight"}
    assert all(weight.ndim == 2 for weight in decayed["params"])
    assert all(weight.ndim == 1 for weight in rest["params"])


def test_the_warm_up_is_as_long_as_the_parameters_say() -> None:
    settings = small()
    arguments = (circle(), settings.baselines.content_transformer, settings.protocol, 0, 7)
    trainer = sasrec_training._Trainer(build(places(), settings), *arguments)
    rates = [trainer._rate(step) for step in range(12)]
    assert int(np.argmax(rates)) == 6
    assert rates[0] == pytest.approx(1 / 7)


def test_the_same_seed_gives_the_same_weights_and_another_seed_another() -> None:
    short = small(epochs=1)
    first, again = (train(circle(), places(), short) for _ in range(2))
    other = train(circle(), places(), short.model_copy(update={"seed": 1}))
    assert all(torch.equal(weight, again.weights[name]) for name, weight in first.weights.items())
    assert not torch.equal(first.weights["norm.weight"], other.weights["norm.weight"])


@pytest.mark.parametrize("content", [{}, {"text": Embedding(np.zeros((4, 2), np.float32), np.zeros(4, bool))}])
def test_without_any_content_nothing_is_trained_and_the_key_is_named(content: Content) -> None:
    steps: list[int] = []
    with pytest.raises(ConfigError, match=r"baselines\.rivals: content_transformer .* no item has .* off the list"):
        content_transformer.train(circle(), content, small(), "cpu", lambda metrics, step: steps.append(step))
    assert not steps


def test_a_dataset_that_does_not_list_it_has_no_rows(tmp_path: Path, settings: Config, prepared: Prepared) -> None:
    store = Store("another", tmp_path)
    with pytest.raises(ArtifactError, match="dvc repro"):
        content_transformer.scores(store, settings, prepared.sequences)
    save_rivals(store, [])
    assert content_transformer.scores(store, settings, prepared.sequences) is None
    assert fused.rival_scores(content_transformer.NAME, store, settings, prepared.sequences) is None
