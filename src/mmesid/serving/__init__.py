"""The recommender as a service: item ids in, item ids with titles and scores out; in a process or behind a server."""

from mmesid.serving.bundle import load, write_bundle
from mmesid.serving.service import Answer, Recommended, Service

__all__ = ["Answer", "Recommended", "Service", "load", "write_bundle"]
