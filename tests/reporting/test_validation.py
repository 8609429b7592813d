"""The gate's page needs nothing beside itself, escapes what the catalogue holds, and says what it found."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmesid.artifacts.values import Catalogue
from mmesid.reporting import validation
from tests.html_page import Page

NASTY = "<script>alert('x')</script> & \"quotes\" "


def jpeg(side: int = 24) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def expectation(name: str, **changes: Any) -> dict[str, Any]:
    example = {"file": "items.csv", "row": 2, "column": "title", "value": NASTY, "reason": "too long: 9 characters"}
    return {
        "name": name,
        "table": "items",
        "column": "title",
        "description": f"every {name} is right",
        "kind": "share",
        "passed": True,
        "checked": 3,
        "failed": 0,
        "share": 0.0,
        "limit": 0.0,
        "key": "max_broken_images",
        "examples": [example] if changes.get("failed") else [],
        **changes,
    }


@pytest.fixture
def catalogue() -> Catalogue:
    interactions = pd.DataFrame({"user_id": ["a", "a", "b", "b"], "item_id": ["x", "y", "x", "gone"], "timestamp": 1})
    items = pd.DataFrame(
        {
            "item_id": ["x", "y", NASTY],
            "title": ["围巾", NASTY * 4000, None],
            "image": [jpeg(), jpeg()[:-200], b"no picture"],
            "image_name": ["x.jpg", "y.jpg", NASTY],
            "file": "items.csv",
            "row": [1, 2, 3],
        }
    )
    return Catalogue(interactions.assign(file="interactions.csv", row=[1, 2, 3, 4]), items, {})


def page(catalogue: Catalogue, *expectations: dict[str, Any]) -> str:
    summary = {
        "users": 2,
        "items": 3,
        "interactions": 4,
        "ties": 1,
        "rejects": 2,
        "notes": [f"interactions.csv, row 3: doubtful {NASTY}"],
        "items_with": {"text": 2, "image": 1},
        "embedding_width": {},
        "broken_pictures": {"does not open": 2},
    }
    rejects = pd.DataFrame(
        {
            "expectation": "pictures.usable",
            "table": "pictures",
            "file": "items.csv",
            "row": [2, 3],
            "column": "image_name",
            "value": ["y.jpg", NASTY],
            "reason": ["does not open: cut", "does not open: text"],
            "tolerated": False,
        }
    )
    passed = all(result["passed"] for result in expectations)
    verdict = {"passed": passed, "summary": summary, "expectations": list(expectations)}
    return validation.render(f"shop {NASTY}", verdict, rejects, catalogue)


FAILED = expectation("width", passed=False, failed=2, share=2 / 3)
COUNTED = expectation("size", kind="count", passed=False, checked=3, failed=17, share=17 / 20, limit=20, examples=[])


def test_the_page_loads_nothing_and_is_whole(catalogue: Catalogue) -> None:
    html = page(catalogue, FAILED, COUNTED, expectation("height"))
    parsed = Page(html)
    assert parsed.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in parsed.addresses)
    assert not {"script", "link", "iframe", "object", "base"} & set(parsed.tags)
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert parsed.open == []


def test_what_the_catalogue_holds_is_escaped_and_short(catalogue: Catalogue) -> None:
    html = page(catalogue, FAILED)
    assert NASTY not in html
    assert "&lt;script&gt;" in html
    assert len(html) < 60_000


def test_equal_verdicts_give_equal_pages(catalogue: Catalogue) -> None:
    assert page(catalogue, FAILED) == page(catalogue, FAILED)


def test_a_failure_shows_limit_parameter_file_and_row(catalogue: Catalogue) -> None:
    html = page(catalogue, FAILED, expectation("height"))
    assert "1 of 2 expectations does not hold" in html
    assert "2 of 3 fail (66.67 %)" in html
    assert "validate.max_broken_images" in html
    assert "items.csv" in html
    assert "too long: 9 characters" in html


def test_a_pass_says_so_and_counts_what_is_tolerated(catalogue: Catalogue) -> None:
    html = page(catalogue, expectation("width", failed=1, share=1 / 3, limit=0.5), expectation("height"))
    assert "all 2 expectations hold" in html
    assert "1 of them has rows that fail, within its limit." in html
    assert "What stops the pipeline" not in html


def test_a_truncated_picture_shows_what_is_left_of_it(catalogue: Catalogue) -> None:
    rejected = page(catalogue, FAILED).split("Rejected pictures")[1].split("The shape of the data")[0]
    assert rejected.count("<img") == 1
    assert "nothing to see" in rejected


def test_an_empty_catalogue_has_a_page(catalogue: Catalogue) -> None:
    empty = Catalogue(catalogue.interactions[:0], catalogue.items[:0], {})
    assert "The shape of the data" in page(empty, COUNTED)


@pytest.mark.parametrize(
    ("changes", "found", "limit", "status"),
    [
        ({}, "all 3", "none may fail", "passed"),
        ({"checked": 0}, "nothing to check", "none may fail", "passed"),
        ({"failed": 1, "share": 1 / 3, "limit": 1.0}, "1 of 3 fail (33.33 %)", "no limit", "tolerated"),
        ({"failed": 1, "share": 1e-6, "limit": 0.1}, "1 of 3 fail (< 0.01 %)", "at most 10 % may fail", "tolerated"),
        ({"kind": "count", "passed": False, "limit": 20, "failed": 17}, "3", "at least 20", "failed"),
    ],
)
def test_words_for_a_result(changes: dict[str, Any], found: str, limit: str, status: str) -> None:
    result = expectation("width", **changes)
    assert (validation.found(result), validation.limit(result), validation.status(result)) == (found, limit, status)


def test_histograms_double_their_classes_and_count_all(catalogue: Catalogue) -> None:
    counts = np.array([0, 1, 2, 3, 4, 5, 8, 9, 16, 17])
    bars = validation._doubling(counts)
    assert bars == [("0", 1), ("1", 1), ("2", 1), ("3", 2), ("5", 2), ("9", 2), ("17", 1)]
    assert validation._doubling(np.array([20, 30])) == [("17", 2)]
    assert validation._histograms(catalogue)["Items by their interactions"] == [("0", 1), ("1", 1), ("2", 1)]
