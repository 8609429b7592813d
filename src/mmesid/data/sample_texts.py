"""Titles and descriptions of the drawn catalogue, composed from attributes and a vocabulary."""

from collections.abc import Mapping

import numpy as np

from mmesid.data.recipe import Attribute, Texts

TEXT_ATTRIBUTES = ("category", "material", "style", "room")


def write_text(
    texts: Texts, attributes: Mapping[str, Attribute], values: Mapping[str, str], rng: np.random.Generator
) -> tuple[str, str]:
    """The title and the description of one item.

    Args:
        texts: templates and names.
        attributes: the recipe's attributes, by name.
        values: the item's value of each attribute.
        rng: draws the words and templates.

    Returns:
        The title, which shows some of the text attributes, and the description, which shows all of them.
    """
    names = {"maker": _pick(texts.makers, rng), "line": _pick(texts.lines, rng)}

    def fill(template: str) -> str:
        words = {name: _pick(attributes[name].values[values[name]], rng) for name in TEXT_ATTRIBUTES}
        filled = template.format_map({**names, **words})
        return filled[:1].upper() + filled[1:]

    title = fill(_pick(texts.titles, rng))
    groups = list(texts.descriptions.values())
    sentences = [fill(_pick(groups[group], rng)) for group in rng.permutation(len(groups))]
    return title, " ".join(sentences)


def _pick(choices: list[str], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]
