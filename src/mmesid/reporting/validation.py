"""The data gate's report: one HTML page that needs nothing beside itself."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmesid.artifacts.items import titles
from mmesid.artifacts.values import Catalogue
from mmesid.reporting.jinja import environment
from mmesid.reporting.pictures import thumbnail

GALLERY = 24  # rejected pictures shown
GLANCE = 8  # items shown
_TITLE = 90  # characters of a title
_JPEG_END = b"\xff\xd9"  # with it a decoder takes a cut file for whole

Result = dict[str, Any]  # one expectation, as the verdict's JSON holds it


def render(dataset: str, verdict: dict[str, Any], rejects: pd.DataFrame, catalogue: Catalogue) -> str:
    """The page; equal verdicts give equal bytes.

    Args:
        dataset: its name.
        verdict: passed, summary and expectations, as `result.json` holds them.
        rejects: as `rejects.parquet` holds them.
        catalogue: what was judged.
    """
    expectations = verdict["expectations"]
    return (
        environment(FILTERS)
        .get_template("validation.html.j2")
        .render(
            dataset=dataset,
            passed=verdict["passed"],
            failing=[result for result in expectations if not result["passed"]],
            tables=_by_table(expectations),
            held=sum(result["passed"] for result in expectations),
            asked=len(expectations),
            tolerated=sum(status(result) == "tolerated" for result in expectations),
            facts=_facts(verdict["summary"]),
            coverage=_coverage(verdict["summary"]),
            histograms=_histograms(catalogue),
            notes=verdict["summary"]["notes"],
            broken=_broken(verdict["summary"]["broken_pictures"]),
            gallery=_gallery(rejects, catalogue.items),
            glance=_glance(catalogue.items),
        )
    )


def found(result: Result) -> str:
    """What an expectation met, in words."""
    if result["kind"] == "count":
        return f"{result['checked']:,}"
    if not result["checked"]:
        return "nothing to check"
    if not result["failed"]:
        return f"all {result['checked']:,}"
    return f"{result['failed']:,} of {result['checked']:,} fail ({percent(result['share'])})"


def limit(result: Result) -> str:
    """What an expectation allows, in words."""
    if result["kind"] == "count":
        return f"at least {result['limit']:,}"
    if result["limit"] == 1:
        return "no limit"
    return f"at most {percent(result['limit'])} may fail" if result["limit"] else "none may fail"


def status(result: Result) -> str:
    """`failed`, `tolerated` (rows break it, but within the limit), or `passed`."""
    if not result["passed"]:
        return "failed"
    return "tolerated" if result["failed"] else "passed"


def percent(share: float) -> str:
    """A share as a percentage; one that is not zero never reads as zero."""
    if 0 < share < 0.0001:
        return "< 0.01 %"
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + " %"


FILTERS: dict[str, Callable[..., str]] = {
    "found": found,
    "limit": limit,
    "status": status,
    "percent": percent,
    "capitalize_first": lambda text: text[:1].upper() + text[1:],
}


def _by_table(expectations: Sequence[Result]) -> dict[str, list[Result]]:
    tables: dict[str, list[Result]] = {}
    for result in expectations:
        tables.setdefault(result["table"], []).append(result)
    return tables


def _facts(summary: dict[str, Any]) -> dict[str, str]:
    users, items, interactions = (summary[name] for name in ("users", "items", "interactions"))
    return {
        "Users": f"{users:,}",
        "Items": f"{items:,}",
        "Interactions": f"{interactions:,}",
        "Per user": f"{interactions / users:.1f}" if users else "–",
        "Density": percent(interactions / (users * items)) if users and items else "–",
        "Ties in time": f"{summary['ties']:,}",
        "Rejects": f"{summary['rejects']:,}",
    }


def _coverage(summary: dict[str, Any]) -> list[tuple[str, int, float]]:
    """Name, items and share of all items, for each modality."""
    items = max(summary["items"], 1)
    widths = {f"{name} embedding": width for name, width in summary["embedding_width"].items()}
    return [
        (f"{name}, {widths[name]}-d" if name in widths else name, count, count / items)
        for name, count in summary["items_with"].items()
    ]


def _broken(kinds: dict[str, int]) -> list[tuple[str, int, float]]:
    """Kind of fault, pictures and share of all broken pictures; the commonest first."""
    total = sum(kinds.values())
    return [(kind, count, count / total) for kind, count in sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))]


def _histograms(catalogue: Catalogue) -> dict[str, list[tuple[str, int]]]:
    per_user = catalogue.interactions["user_id"].value_counts()
    item_ids = catalogue.items["item_id"].dropna().unique()
    per_item = catalogue.interactions["item_id"].value_counts().reindex(item_ids, fill_value=0)
    return {
        "Users by their interactions": _doubling(per_user.to_numpy()),
        "Items by their interactions": _doubling(per_item.to_numpy()),
    }


def _doubling(counts: NDArray[np.integer[Any]]) -> list[tuple[str, int]]:
    """How many counts fall into 0, 1, 2, 3-4, 5-8, 9-16, ..., by the class's lower bound; the first classes without
    any are left out."""
    positive = counts[counts > 0]
    classes = np.bincount(np.ceil(np.log2(positive)).astype(int)) if len(positive) else np.zeros(0, dtype=int)
    bounds = [1, *(2 ** (power - 1) + 1 for power in range(1, len(classes)))]
    bars = [(0, int((counts == 0).sum())), *zip(bounds, classes.tolist(), strict=False)]
    first = next((position for position, bar in enumerate(bars) if bar[1]), len(bars))
    return [(f"{bound:,}", count) for bound, count in bars[first:]]


def _gallery(rejects: pd.DataFrame, items: pd.DataFrame) -> list[dict[str, Any]]:
    """Rejected pictures with their name and reason; what can be seen of them."""
    broken = rejects[rejects["table"] == "pictures"][["file", "row", "value", "reason"]]
    shown = broken[:GALLERY].merge(items[["file", "row", "image"]], on=["file", "row"])
    return [
        {"name": row["value"], "reason": row["reason"], "picture": _picture(row["image"])}
        for row in shown.to_dict("records")
    ]


def _glance(items: pd.DataFrame) -> list[dict[str, Any]]:
    """A few items, evenly spread over the catalogue."""
    positions = np.unique(np.linspace(0, len(items) - 1, min(GLANCE, len(items))).astype(int))
    shown = items.iloc[positions]
    return [
        {"item_id": str(item_id), "title": _shorten(title), "picture": _picture(picture)}
        for item_id, title, picture in zip(shown["item_id"], titles(shown), shown["image"], strict=True)
    ]


def _shorten(title: str) -> str:
    return title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}…"


def _picture(content: object) -> str | None:
    """A `data:` URI of the picture, or of what a cut JPEG still shows; None where there is nothing to see."""
    if not isinstance(content, bytes):
        return None
    return thumbnail(content) or thumbnail(content + _JPEG_END)
