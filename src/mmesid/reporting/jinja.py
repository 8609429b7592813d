"""Templates of this folder, as every page of ours renders them."""

from collections.abc import Callable, Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment(filters: Mapping[str, Callable[..., str]]) -> Environment:
    """An environment in which every text is escaped and an unknown name is an error.

    Args:
        filters: name -> filter, beside `count` (12345 -> 12,345).
    """
    made = Environment(
        loader=PackageLoader("mmesid.reporting"),
        autoescape=True,  # by name, jinja2 would leave *.j2 unescaped
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"count": "{:,}".format, **filters}
    return made
