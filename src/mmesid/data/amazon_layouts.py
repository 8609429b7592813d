"""How Amazon's releases lay out reviews and products: their keys, and the links to a product's pictures."""

import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

PLACEHOLDER = re.compile(r"no-(?:img|image)-[^/]*$")  # in a link: what the shop shows where it has no picture
SIZES = ("large", "hi_res", "thumb")  # of a picture of 2023


class Layout(NamedTuple):
    """The keys of a release."""

    user: str
    item: str  # of a review
    time: str
    product: str  # of the metadata: the same id
    texts: tuple[str, ...]  # title first
    pictures: tuple[str, ...]  # the larger ones first


_OLD = ("reviewerID", "asin", "unixReviewTime", "asin")
_OF_2018 = ("imageURLHighRes", "imageURL", "image")
_NEW = Layout(
    *("user_id", "parent_asin", "timestamp", "parent_asin"),
    ("title", "store", "categories", "features", "description"),
    ("images",),
)

LAYOUTS: dict[str, Layout] = {
    "2014": Layout(*_OLD, ("title", "brand", "categories", "description"), ("imUrl",)),
    "2018": Layout(*_OLD, ("title", "brand", "category", "feature", "description"), _OF_2018),
    "2023": _NEW,
    "2023-5core": _NEW,
}


def picture_links(product: Mapping[str, Any], layout: Layout) -> Iterator[str]:
    """The links to a product's pictures, the one that is to be shown first.

    2014 has one, 2018 lists of them, 2023 a list of pictures, each in several sizes, of which one is called MAIN.
    """
    for key in layout.pictures:
        for picture in sorted(_pictures(product.get(key)), key=_is_aside):
            sizes = map(picture.get, SIZES) if isinstance(picture, dict) else [picture]
            yield from (link.strip() for link in sizes if isinstance(link, str) and link.strip())


def find_picture(product: Mapping[str, Any], layout: Layout) -> str | None:
    """The link to a product's picture, None where it has none; a placeholder of the shop is none."""
    return next((link for link in picture_links(product, layout) if not PLACEHOLDER.search(link)), None)


def fitting(keys: Mapping[str, int], release: str) -> tuple[str, list[str]]:
    """The release whose layout has most of the keys that products have, and which of them the named one lacks.

    Args:
        keys: how many products have each.
        release: that was named, which stays where no other has more.
    """
    known = {one: {layout.product, *layout.texts, *layout.pictures} for one, layout in LAYOUTS.items()}
    found = max(known, key=lambda one: (sum(keys.get(key, 0) for key in known[one]), one == release))
    return found, sorted(known[found].intersection(keys) - known[release])


def _pictures(held: object) -> list[Any]:
    """What a key holds as a list of pictures; a dictionary of lists, as Hugging Face exports them, is one as well."""
    if isinstance(held, dict) and any(isinstance(values, list) for values in held.values()):
        columns = {name: values for name, values in held.items() if isinstance(values, list)}
        return [dict(zip(columns, row, strict=True)) for row in zip_longest(*columns.values())]
    return held if isinstance(held, list) else [held]


def _is_aside(picture: object) -> bool:
    """Whether it is not the picture that is called MAIN, where there are names."""
    return isinstance(picture, dict) and picture.get("variant") != "MAIN"
