"""The recipe of a drawn catalogue: `recipe.yaml` -> one strict, frozen value."""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mmesid.data.sample_pictures import PATTERNS, SHAPES
from mmesid.errors import DataError

Share = Annotated[float, Field(ge=0, lt=1)]
SHADE = re.compile("#[0-9a-fA-F]{6}")
Words = Annotated[list[str], Field(min_length=1)]


class Part(BaseModel):
    """A part of the recipe: unknown keys are errors, values never change, nothing is coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Attribute(Part):
    """One attribute: the strength of its preferences, and its values with their words or shades."""

    weight: Annotated[float, Field(ge=0)]
    values: Annotated[dict[str, list[str]], Field(min_length=2)]


class Attributes(Part):
    """All attributes. Text shows category, material, style and room; the picture category, colour and pattern."""

    category: Attribute
    colour: Attribute
    pattern: Attribute
    material: Attribute
    style: Attribute
    room: Attribute
    circle: Attribute

    @model_validator(mode="after")
    def _values_can_be_shown(self) -> "Attributes":
        _known("category", self.category, SHAPES)
        _known("pattern", self.pattern, PATTERNS)
        for name in ("category", "colour", "material", "style", "room"):
            for value, variants in getattr(self, name).values.items():
                if not variants:
                    raise ValueError(f"{name}.values.{value} needs at least one word or shade")
        for value, shades in self.colour.values.items():
            for shade in shades:
                if not SHADE.fullmatch(shade):
                    raise ValueError(f"colour.values.{value}: {shade!r} is no colour; write one as '#c8352f'")
        return self


class Texts(Part):
    """What titles and descriptions are composed of; braces name what is filled in."""

    makers: Words
    lines: Words
    titles: Words
    descriptions: Annotated[dict[str, Words], Field(min_length=1)]

    @model_validator(mode="after")
    def _templates_can_be_filled(self) -> "Texts":
        known = dict.fromkeys(("maker", "line", "category", "material", "style", "room"), "")
        for template in [*self.titles, *(sentence for group in self.descriptions.values() for sentence in group)]:
            try:
                template.format_map(known)
            except (KeyError, ValueError, IndexError) as error:
                raise ValueError(f"{template!r} cannot be filled in ({error}); known are {', '.join(known)}") from None
        return self


class HistoryLength(Part):
    """Interactions of a user: geometric from `shortest` with this mean, capped at `longest`."""

    shortest: Annotated[int, Field(ge=3)]
    mean: float
    longest: int

    @model_validator(mode="after")
    def _in_order(self) -> "HistoryLength":
        if not self.shortest < self.mean < self.longest:
            raise ValueError(
                f"shortest < mean < longest must hold; they are {self.shortest}, {self.mean}, {self.longest}"
            )
        return self


class Missing(Part):
    """Shares of items that lack a modality."""

    image: Share
    description: Share


class Recipe(Part):
    """Everything that determines a drawn catalogue."""

    seed: Annotated[int, Field(ge=0)]
    users: Annotated[int, Field(ge=1)]
    items: Annotated[int, Field(ge=2)]
    history: HistoryLength
    lags: Annotated[list[float], Field(min_length=1)]
    popularity: Annotated[float, Field(ge=0)]
    missing: Missing
    picture_side: Annotated[int, Field(ge=16, le=256)]
    attributes: Attributes
    texts: Texts

    @model_validator(mode="after")
    def _enough_items(self) -> "Recipe":
        if self.items < self.history.longest:
            raise ValueError(
                f"items ({self.items}) must be at least history.longest ({self.history.longest}): none repeats"
            )
        return self


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        DataError: the file is missing or not YAML, a key is unknown or missing, a value has a wrong type or range.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Recipe.model_validate(content)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; the sample is drawn from it (git restores it)") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid YAML: {error}") from None
    except ValidationError as error:
        lines = [f"  {_key(problem)}: {_say(problem)}" for problem in error.errors()]
        raise DataError("\n".join([f"{path}:", *lines])) from None


def _known(name: str, attribute: Attribute, drawable: dict[str, Any]) -> None:
    for value in attribute.values:
        if value not in drawable:
            raise ValueError(f"{name}.values.{value} cannot be drawn; known are {', '.join(drawable)}")


def _key(problem: Any) -> str:
    return ".".join(str(part) for part in problem["loc"]) or "recipe"


def _say(problem: Any) -> str:
    if problem["type"] == "missing":
        return "this key is missing"
    if problem["type"] != "extra_forbidden":
        value = problem["input"]
        return f"{problem['msg']}" + ("" if isinstance(value, dict | list) else f"; it is {value!r}")
    part: Any = Recipe
    for step in problem["loc"][:-1]:
        part = part.model_fields[str(step)].annotation
    near = difflib.get_close_matches(str(problem["loc"][-1]), list(part.model_fields), n=1, cutoff=0.5)
    return "no such key." + (f" Did you mean `{near[0]}`?" if near else f" Known keys: {', '.join(part.model_fields)}.")
