"""The drawn catalogue: the same on every run, drawn by the law that is saved beside it, each view with its own part."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmesid.artifacts.ingest import load_catalogue, load_oracle, save_catalogue, save_oracle
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Catalogue, Oracle
from mmesid.config import Prepare
from mmesid.data import ORACLES, SOURCES, sample
from mmesid.data.preparation import prepare
from mmesid.data.recipe import Recipe, load_recipe
from mmesid.data.sample_pictures import PATTERNS, SHAPES, draw_picture
from mmesid.errors import DataError

SAMPLE = Path(__file__).parents[2] / "sources" / "sample"
Make = Callable[..., Recipe]


@pytest.fixture(scope="module")
def drawn() -> Catalogue:
    """The bundled sample."""
    return SOURCES["sample"](SAMPLE, {})


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    """Its law."""
    return ORACLES["sample"](SAMPLE)


def test_two_draws_are_equal(recipe_with: Make) -> None:
    recipe = recipe_with()
    pd.testing.assert_frame_equal(sample.draw_interactions(recipe), sample.draw_interactions(recipe))
    pd.testing.assert_frame_equal(sample.draw_items(recipe), sample.draw_items(recipe))
    first, second = sample.law(recipe), sample.law(recipe)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_another_seed_draws_another_catalogue(recipe_with: Make) -> None:
    first, second = (sample.draw_interactions(recipe_with(seed=seed)) for seed in (1, 2))
    assert first["item_id"].to_list() != second["item_id"].to_list()


def test_the_bundled_sample_has_its_size(drawn: Catalogue) -> None:
    lengths = drawn.interactions.groupby("user_id").size()
    assert 2000 <= len(lengths) <= 3000
    assert (lengths.min(), lengths.max()) == (5, 20)
    assert 9 <= lengths.mean() <= 11
    assert len(drawn.items) == 1000
    assert drawn.items["item_id"].is_unique
    assert drawn.interactions["item_id"].isin(drawn.items["item_id"]).all()


def test_nobody_takes_an_item_twice_and_time_goes_on(drawn: Catalogue) -> None:
    assert not drawn.interactions.duplicated(["user_id", "item_id"]).any()
    assert drawn.interactions["timestamp"].is_monotonic_increasing
    steps = drawn.interactions.groupby("user_id")["timestamp"].diff().dropna()
    assert (steps > 0).all()


def test_rows_say_where_they_come_from(drawn: Catalogue) -> None:
    for table in (drawn.interactions, drawn.items):
        assert set(table["file"]) == {"recipe.yaml"}
        assert table["row"].to_list() == list(range(1, len(table) + 1))


def test_popularity_is_long_tailed(drawn: Catalogue) -> None:
    counts = np.sort(np.bincount(_rows(drawn), minlength=1000))[::-1]
    assert counts[:100].sum() > 0.3 * counts.sum()  # a tenth of the items, of which a flat law would give a tenth
    assert np.median(counts) < 0.75 * counts.mean()
    assert (counts < 5).mean() > 0.05


def test_some_items_lack_a_picture_or_a_description_and_every_other_opens(drawn: Catalogue) -> None:
    items = drawn.items
    assert 5 <= items["image"].isna().sum() <= 60
    assert 5 <= items["description"].isna().sum() <= 60
    assert items["title"].notna().all()
    assert (items["image"].isna() == items["image_name"].isna()).all()
    for picture in items["image"].dropna():
        with Image.open(io.BytesIO(picture)) as image:
            assert image.size == (48, 48)


def test_what_only_the_picture_shows_is_in_no_text(drawn: Catalogue) -> None:
    recipe, items = load_recipe(SAMPLE / "recipe.yaml"), drawn.items
    words = set(re.findall(r"[a-z]+", " ".join(items["title"] + " " + items["description"].fillna("")).lower()))
    for attribute in (recipe.attributes.colour, recipe.attributes.pattern):
        assert words.isdisjoint(attribute.values)
    shown = (recipe.attributes.category, recipe.attributes.material, recipe.attributes.style, recipe.attributes.room)
    assert words.issuperset(name for attribute in shown for name in attribute.values)


def test_a_description_shows_every_text_attribute(drawn: Catalogue) -> None:
    attributes = load_recipe(SAMPLE / "recipe.yaml").attributes
    for description in drawn.items["description"].dropna():
        for attribute in (attributes.material, attributes.style, attributes.room):
            variants = [word for words in attribute.values.values() for word in words]
            assert any(word.lower() in description.lower() for word in variants), description


def test_a_picture_shows_colour_and_pattern_and_shape() -> None:
    def pixels(shape: str, shade: str, pattern: str) -> np.ndarray:
        picture = draw_picture(shape, shade, pattern, 48, np.random.default_rng(0))
        return np.asarray(Image.open(io.BytesIO(picture)), dtype=float)

    red, blue = pixels("mug", "#ff0000", "plain"), pixels("mug", "#0000ff", "plain")
    assert red[..., 0].mean() > red[..., 2].mean() + 20
    assert blue[..., 2].mean() > blue[..., 0].mean() + 20
    views = [pixels(shape, "#ff0000", "plain") for shape in SHAPES]
    views += [pixels("mug", "#ff0000", pattern) for pattern in PATTERNS if pattern != "plain"]
    for one in range(len(views)):
        for other in range(one):
            assert np.abs(views[one] - views[other]).mean() > 2


def test_the_first_item_follows_the_softmax_of_the_bias() -> None:
    # 40,000 draws of one item each; a frequency p has a standard error of at most .0025.
    bias = np.log(np.array([0.5, 0.3, 0.15, 0.05], dtype=np.float32))
    law = Oracle(list("abcd"), np.zeros((4, 1), np.float32), np.zeros((4, 1), np.float32), np.ones(1, np.float32), bias)
    taken = sample.draw_histories(law, np.ones(40_000, dtype=np.int64), np.random.default_rng(0))
    assert np.bincount(taken[:, 0]) / 40_000 == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.01)


def test_the_next_item_follows_lags_and_excludes_what_was_taken() -> None:
    # One feature per item: after item h, key[h'] gets query[h][h'] as logit. From a then b, lags (1, .5):
    # score(c) = query[b, c] + .5 query[a, c] = 2 + .5 = 2.5, score(d) = 0, so P(c) = e^2.5 / (e^2.5 + 1) = .924.
    query = np.zeros((4, 4), dtype=np.float32)
    query[0, 1], query[1, 2], query[0, 2] = 50, 2, 1  # a is followed by b
    bias = np.array([200, 0, 0, 0], dtype=np.float32)  # a comes first
    law = Oracle(list("abcd"), query, np.eye(4, dtype=np.float32), np.array([1, 0.5], np.float32), bias)
    taken = sample.draw_histories(law, np.full(20_000, 4), np.random.default_rng(0))
    assert (taken[:, :2] == [0, 1]).all()
    assert (np.sort(taken, axis=1) == [0, 1, 2, 3]).all()
    assert (taken[:, 2] == 2).mean() == pytest.approx(0.924, abs=0.008)  # 4 standard errors


def test_the_saved_law_explains_the_draw_better_than_any_shuffle(drawn: Catalogue, oracle: Oracle) -> None:
    true = _mean_log_likelihood(drawn, oracle)
    shuffle = np.random.default_rng(0).permutation(len(oracle.item_ids))
    assert true > _mean_log_likelihood(drawn, oracle._replace(key=oracle.key[shuffle])) + 1
    assert true > _mean_log_likelihood(drawn, oracle._replace(bias=oracle.bias[shuffle])) + 0.1
    assert true > _mean_log_likelihood(drawn, oracle._replace(lags=oracle.lags[::-1].copy())) + 0.1
    # In expectation the true law's log-likelihood is minus its entropy: calibration, not only order. About 1,000 users
    # and a standard deviation of 1.7 nats make a standard error of .055.
    assert true == pytest.approx(-_mean_entropy(drawn, oracle), abs=0.16)


def test_lengths_follow_the_recipe(recipe_with: Make) -> None:
    lengths = sample.draw_interactions(recipe_with(users=400)).groupby("user_id").size()
    assert len(lengths) == 400
    assert lengths.min() == 5
    assert lengths.max() == 20


def test_the_k_core_of_the_sample_keeps_every_user(drawn: Catalogue) -> None:
    prepared = prepare(
        drawn,
        Prepare(
            repeats="drop",
            ties="source",
            drop_items_without=[],
            min_user_interactions=5,
            min_item_interactions=1,
        ),
    )
    assert len(prepared.sequences.user_ids) == drawn.interactions["user_id"].nunique()
    assert prepared.sequences.n_items == drawn.interactions["item_id"].nunique()


def test_saving_and_loading_is_identity(tmp_path: Path, recipe_with: Make) -> None:
    recipe, store = recipe_with(), Store("tiny", tmp_path)
    catalogue, law = Catalogue(sample.draw_interactions(recipe), sample.draw_items(recipe), {}), sample.law(recipe)
    save_catalogue(store, catalogue)
    save_oracle(store, law)
    loaded, loaded_law = load_catalogue(store), load_oracle(store)
    pd.testing.assert_frame_equal(loaded.interactions, catalogue.interactions)
    pd.testing.assert_frame_equal(loaded.items, catalogue.items)
    assert loaded_law is not None
    assert all(np.array_equal(a, b) for a, b in zip(loaded_law, law, strict=True))


def test_equal_draws_are_equal_files(tmp_path: Path, recipe_with: Make) -> None:
    for name in ("one", "two"):
        recipe = recipe_with()
        save_catalogue(
            Store(name, tmp_path), Catalogue(sample.draw_interactions(recipe), sample.draw_items(recipe), {})
        )
    for table in ("interactions.parquet", "items.parquet"):
        first, second = ((tmp_path / "data" / name / "ingest" / table).read_bytes() for name in ("one", "two"))
        assert first == second


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda r: r.update(userz=3), r"userz: no such key. Did you mean `users`"),
        (lambda r: r["history"].update(shortes=3), r"history.shortes: no such key. Did you mean `shortest`"),
        (lambda r: r.pop("lags"), "lags: this key is missing"),
        (lambda r: r.update(users="many"), "users: .*integer; it is 'many'"),
        (lambda r: r["missing"].update(image=1.5), "missing.image: .*less than 1; it is 1.5"),
        (
            lambda r: r["attributes"]["category"]["values"].update(yacht=["yacht"]),
            "category.values.yacht cannot be drawn",
        ),
        (lambda r: r["attributes"]["pattern"]["values"].update(paisley=[]), "pattern.values.paisley cannot be drawn"),
        (
            lambda r: r["attributes"]["colour"]["values"].update(red=["reddish"]),
            "colour.values.red: 'reddish' is no colour",
        ),
        (lambda r: r["attributes"]["material"]["values"].update(oak=[]), "material.values.oak needs at least one word"),
        (lambda r: r["texts"]["titles"].append("{colour} thing"), "'{colour} thing' cannot be filled in"),
        (lambda r: r.update(items=10), "must be at least history.longest"),
        (lambda r: r["history"].update(mean=30.0), "shortest < mean < longest"),
    ],
)
def test_a_wrong_recipe_names_the_key(
    edit: Callable[[dict], None], message: str, recipe_file: Callable[..., Path]
) -> None:
    with pytest.raises(DataError, match=message):
        sample.read(recipe_file(edit), {})


def test_a_missing_or_broken_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"recipe\.yaml does not exist"):
        sample.read(tmp_path, {})
    (tmp_path / "recipe.yaml").write_text("seed: [", encoding="utf-8")
    with pytest.raises(DataError, match=r"recipe\.yaml is not valid YAML"):
        sample.read(tmp_path, {})


def test_the_sample_has_no_embedding_files() -> None:
    with pytest.raises(DataError, match=r"ingest\.embeddings"):
        sample.read(SAMPLE, {"text": "minilm"})


def _rows(catalogue: Catalogue) -> np.ndarray:
    """The item of each interaction as a row of the items table."""
    return pd.Index(catalogue.items["item_id"]).get_indexer(catalogue.interactions["item_id"])


def _log_probabilities(catalogue: Catalogue, oracle: Oracle) -> tuple[np.ndarray, np.ndarray]:
    """(users, N) log-probabilities of the tenth item by the definition, and the item that came, for users with ten."""
    order = pd.Index(oracle.item_ids).get_indexer(catalogue.interactions["item_id"])
    histories = pd.Series(order).groupby(catalogue.interactions["user_id"].to_numpy()).agg(list)
    histories = np.array([history[:10] for history in histories if len(history) >= 10])
    past, following = histories[:, :-1], histories[:, -1]
    scores = np.tile(oracle.bias.astype(float), (len(past), 1))
    for lag, weight in enumerate(oracle.lags, start=1):
        scores += weight * oracle.query[past[:, -lag]] @ oracle.key.T
    np.put_along_axis(scores, past, -np.inf, axis=1)
    scores -= scores.max(axis=1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)), following


def _mean_log_likelihood(catalogue: Catalogue, oracle: Oracle) -> float:
    log_probabilities, following = _log_probabilities(catalogue, oracle)
    return float(np.take_along_axis(log_probabilities, following[:, None], axis=1).mean())


def _mean_entropy(catalogue: Catalogue, oracle: Oracle) -> float:
    log_probabilities, _ = _log_probabilities(catalogue, oracle)
    return float(
        -(np.exp(log_probabilities) * np.where(np.isinf(log_probabilities), 0, log_probabilities)).sum(1).mean()
    )
