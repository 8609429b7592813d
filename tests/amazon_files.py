"""Small catalogues as Amazon's releases write them, with the faults that these have."""

import gzip
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmesid.pipeline.downloads import asking

USERS, ITEMS, STEPS = 12, 10, 6


def alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads in a folder of the test's own, and nobody waits for long."""
    monkeypatch.setenv("MMESID_DOWNLOADS", str(folder / "downloads"))
    monkeypatch.setattr(asking, "FIRST_WAIT", 0.001)


def pack(lines: Iterable[str]) -> bytes:
    """Lines as a gzip file; equal lines give equal bytes."""
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def item(number: int) -> str:
    return f"B{number:09d}"


def taken() -> list[tuple[str, str, int]]:
    """User, item and seconds since 1970 of each review: every user takes STEPS items, a day apart."""
    return [
        (f"U{user}", item((user + step) % ITEMS), 1_300_000_000 + 86_400 * step)
        for step in range(STEPS)
        for user in range(USERS)
    ]


def reviews(release: str) -> list[str]:
    """The lines of the file of reviews."""
    if release == "2023-5core":
        return ["user_id,parent_asin,rating,timestamp", *(f"{u},{i},5.0,{t * 1000}" for u, i, t in taken())]
    if release == "2023":
        return [
            json.dumps({"rating": 5.0, "asin": f"child-{i}", "parent_asin": i, "user_id": u, "timestamp": t * 1000})
            for u, i, t in taken()
        ]
    return [
        json.dumps({"reviewerID": u, "asin": i, "reviewText": 'It\'s "so" so', "overall": 5.0, "unixReviewTime": t})
        for u, i, t in taken()
    ]


def product(release: str, number: int, url: str) -> dict[str, Any]:
    """A product's metadata; its picture is `url`/pictures/<number>.jpg."""
    link = f"{url}/pictures/{number}.jpg"
    if release == "2014":
        return {
            "asin": item(number),
            "title": f'Ada\'s "soft" soap No. {number}' if number % 2 else f"Soap No. {number}",
            "imUrl": link,
            "related": {"also_bought": [item(0), item(1)]},
            "salesRank": {"Beauty": number},
            "categories": [["Beauty", "Bath", "Soap"]],
            "description": f"Soap &amp; foam,\tnumber {number}",
        }
    if release == "2018":
        return {
            "category": ["Beauty", "Soap"],
            "description": [f"Soap number {number}"],
            "title": f"Soap No. {number}",
            "imageURL": [f"{link}?small"],
            "imageURLHighRes": [link],
            "asin": item(number),
        }
    pictures = [{"thumb": f"{link}?t", "large": f"{link}?side", "variant": "PT01"}, {"large": link, "variant": "MAIN"}]
    return {"title": f"Soap No. {number}", "store": "Ada", "images": pictures, "features": ["soft"],
            "description": [], "categories": ["Beauty"], "parent_asin": item(number), "price": None}  # fmt: skip


def metadata(release: str, url: str, numbers: Iterable[int] = range(ITEMS)) -> list[str]:
    """The lines of the file of metadata."""
    write = repr if release == "2014" else json.dumps
    return [write(product(release, number, url)) for number in numbers]


def picture(seed: int, kind: str = "JPEG", mode: str = "RGB", side: int = 24, **options: Any) -> bytes:
    """A picture file with noise in it."""
    channels = len(mode)
    values = np.random.default_rng(seed).integers(0, 256, (side, side, channels), dtype=np.uint8)
    out = io.BytesIO()
    image = Image.fromarray(values if channels > 1 else values[..., 0], None if mode != "CMYK" else "CMYK")
    image.save(out, kind, **options)
    return out.getvalue()
