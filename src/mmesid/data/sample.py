"""The source `sample`: a catalogue that the program draws itself, with a known law of who takes what next.

Each item has a value of every attribute. An attribute with V values has preferences P (V, V), drawn once, rows and
columns of mean 0, standard deviation 1. The score of the next item adds them up over attributes a and lags l, plus a
popularity bias:

    score(next | history) = sum_l lags[l] sum_a weight_a P_a[value_a(h_-l), value_a(next)] + bias[next]

and the next item is drawn from the softmax over the items not yet taken. Written as <query[h_-l], key[next]> this is
`artifacts.Oracle`, from which the best reachable ranking follows exactly.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmesid.artifacts.values import Catalogue, Oracle
from mmesid.data.formats import PLAIN, How
from mmesid.data.recipe import Attribute, Recipe, load_recipe
from mmesid.data.sample_pictures import draw_picture
from mmesid.data.sample_texts import write_text
from mmesid.errors import DataError

RECIPE = "recipe.yaml"
DAY = 86_400
SECOND = 1_000_000_000  # nanoseconds
OPENING = 1_577_836_800  # 2020-01-01, when the shop opens
OPEN_DAYS = 900
USERS_AT_ONCE = 512  # bounds the memory of a draw: (512, N) scores


class Attributes(NamedTuple):
    """The value of every attribute for every item, as an index into the attribute's values."""

    specification: dict[str, Attribute]
    values: dict[str, NDArray[np.int64]]  # each (N,)

    def named(self, item: int) -> dict[str, str]:
        """The item's attribute values by name."""
        return {name: list(self.specification[name].values)[index[item]] for name, index in self.values.items()}


def read(folder: Path, embeddings: dict[str, str], how: How = PLAIN) -> Catalogue:
    """Draw the catalogue that `folder/recipe.yaml` describes; equal bytes on every run of the same versions.

    Args:
        folder: the dataset's folder in `sources/`.
        embeddings: must be empty, a drawn catalogue has none.
        how: of no use here, a recipe says everything itself.

    Raises:
        DataError: the recipe is missing or wrong, or an embedding or a text column is asked for.
    """
    if how.text is not None:
        raise DataError(f"ingest.text names {how.text}, but a drawn catalogue knows its texts; leave it null")
    if embeddings:
        raise DataError(
            f"ingest.embeddings names {embeddings}, but a drawn catalogue has no embedding files; leave it {{}}"
        )
    recipe = load_recipe(folder / RECIPE)
    return Catalogue(draw_interactions(recipe), draw_items(recipe), {})


def read_oracle(folder: Path) -> Oracle:
    """The law by which the catalogue of `folder/recipe.yaml` was drawn."""
    return law(load_recipe(folder / RECIPE))


def law(recipe: Recipe) -> Oracle:
    """Queries, keys, lags and popularity bias of every item."""
    attributes = _attributes(recipe)
    rng = _stream(recipe, "law")
    queries, keys = [], []
    for name, attribute in attributes.specification.items():
        size = len(attribute.values)
        preferences = rng.standard_normal((size, size))
        preferences -= preferences.mean(axis=0)  # no value is preferred on the whole, popularity has its own term
        preferences -= preferences.mean(axis=1, keepdims=True)
        preferences /= preferences.std()
        queries.append(attribute.weight * preferences[attributes.values[name]])
        keys.append(np.eye(size)[attributes.values[name]])
    rank = rng.permutation(recipe.items) + 1
    bias = -recipe.popularity * np.log(rank)
    return Oracle(
        item_ids=_item_ids(recipe),
        query=np.concatenate(queries, axis=1).astype(np.float32),  # (N, f)
        key=np.concatenate(keys, axis=1).astype(np.float32),  # (N, f)
        lags=np.array(recipe.lags, dtype=np.float32),
        bias=bias.astype(np.float32),
    )


def draw_interactions(recipe: Recipe) -> pd.DataFrame:
    """Every user's interactions in the order of time, columns as in `Catalogue`."""
    rng = _stream(recipe, "interactions")
    lengths = _lengths(recipe, rng)
    oracle = law(recipe)
    starts = range(0, recipe.users, USERS_AT_ONCE)
    taken = np.concatenate([draw_histories(oracle, lengths[start : start + USERS_AT_ONCE], rng) for start in starts])
    gaps = rng.integers(1, 14 * DAY, size=taken.shape)
    gaps[:, 0] = rng.integers(0, OPEN_DAYS * DAY, size=len(taken))
    times = OPENING + gaps.cumsum(axis=1)
    user, position = np.nonzero(taken >= 0)
    order = np.lexsort((user, times[user, position]))
    user, position = user[order], position[order]
    ids = np.array(oracle.item_ids, dtype=object)
    frame = pd.DataFrame(
        {
            "user_id": [f"u{number + 1:05d}" for number in user],
            "item_id": ids[taken[user, position]],
            "timestamp": times[user, position] * SECOND,
        }
    )
    return _with_origin(frame.astype({"user_id": "str", "item_id": "str"}))


def draw_histories(oracle: Oracle, lengths: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw histories by the oracle's law, all users a step at a time.

    Scores are in float64, so that the last bit of a matrix product on another machine does not change a draw.

    Args:
        oracle: the law, over N items.
        lengths: (B,) items of each user.
        rng: one uniform number per user and step.

    Returns:
        (B, max length): rows of the oracle's tables, -1 after a user's last item.
    """
    query, key, lags, bias = (array.astype(np.float64) for array in oracle[1:])
    users = np.arange(len(lengths))
    taken = np.full((len(lengths), lengths.max()), -1, dtype=np.int64)
    candidate = np.ones((len(lengths), len(bias)), dtype=bool)
    for step in range(taken.shape[1]):
        wish = np.zeros((len(users), query.shape[1]))
        for lag, weight in enumerate(lags[:step], start=1):
            wish += weight * query[taken[:, step - lag]]
        scores = np.where(candidate, wish @ key.T + bias, -np.inf)  # (B, N)
        mass = np.exp(scores - scores.max(axis=1, keepdims=True)).cumsum(axis=1)
        threshold = rng.random(len(users)) * mass[:, -1]
        chosen = (mass <= threshold[:, None]).sum(axis=1)
        candidate[users, chosen] = False
        taken[:, step] = chosen
    return np.where(np.arange(taken.shape[1]) < lengths[:, None], taken, -1)


def draw_items(recipe: Recipe) -> pd.DataFrame:
    """Every item with its texts and picture, columns as in `Catalogue`."""
    attributes = _attributes(recipe)
    rng = _stream(recipe, "items")
    without_image = rng.random(recipe.items) < recipe.missing.image
    without_description = rng.random(recipe.items) < recipe.missing.description
    rows = []
    for item, item_id in enumerate(_item_ids(recipe)):
        values = attributes.named(item)
        title, description = write_text(recipe.texts, attributes.specification, values, rng)
        shades = attributes.specification["colour"].values[values["colour"]]
        shade = shades[rng.integers(len(shades))]
        image = draw_picture(values["category"], shade, values["pattern"], recipe.picture_side, rng)
        absent = without_image[item]
        rows.append(
            {
                "item_id": item_id,
                "title": title,
                "description": None if without_description[item] else description,
                "image": None if absent else image,
                "image_name": None if absent else f"{item_id}.png",
            }
        )
    frame = pd.DataFrame(rows).astype(dict.fromkeys(("item_id", "title", "description", "image_name"), "str"))
    return _with_origin(frame)


def _attributes(recipe: Recipe) -> Attributes:
    """Independent values; the first of an attribute's values are somewhat more frequent than the last."""
    rng = _stream(recipe, "attributes")
    specification = {name: getattr(recipe.attributes, name) for name in type(recipe.attributes).model_fields}
    values = {}
    for name, attribute in specification.items():
        share = np.linspace(1.5, 0.5, len(attribute.values))
        values[name] = rng.choice(len(share), size=recipe.items, p=share / share.sum()).astype(np.int64)
    return Attributes(specification, values)


def _lengths(recipe: Recipe, rng: np.random.Generator) -> NDArray[np.int64]:
    """(users,) interactions of each user."""
    shortest, mean, longest = recipe.history.shortest, recipe.history.mean, recipe.history.longest
    extra = rng.geometric(1 / (mean - shortest + 1), size=recipe.users) - 1
    return np.minimum(shortest + extra, longest).astype(np.int64)


def _item_ids(recipe: Recipe) -> list[str]:
    return [f"i{number + 1:05d}" for number in range(recipe.items)]


def _with_origin(frame: pd.DataFrame) -> pd.DataFrame:
    """Drawn rows come from the recipe; their number counts what was drawn from it."""
    return frame.assign(file=RECIPE, row=np.arange(1, len(frame) + 1, dtype=np.int64)).astype({"file": "str"})


def _stream(recipe: Recipe, purpose: str) -> np.random.Generator:
    """A generator of its own for each purpose: a change to one part of the draw leaves the others as they are."""
    return np.random.default_rng([recipe.seed, *purpose.encode()])
