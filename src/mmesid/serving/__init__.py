"""The recommender as a service: item ids in, item ids with titles and scores out; in a process or behind a server."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmesid.serving.bundle import bundle_digest, collect, load, write_bundle

if TYPE_CHECKING:
    from mmesid.serving.service import Answer, Recommended, Service, split_ids

SCORING = Path(__file__).parent / "http" / "scoring.py"  # what answers over HTTP, by its path: it imports nothing here

__all__ = [
    "SCORING",
    "Answer",
    "Recommended",
    "Service",
    "bundle_digest",
    "collect",
    "load",
    "split_ids",
    "write_bundle",
]


def __getattr__(name: str) -> Any:
    """The service is imported on first use: importing torch takes seconds, and a digest does not need it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mmesid.serving import service

    return getattr(service, name)
