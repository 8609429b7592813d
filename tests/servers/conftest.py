"""A place for a server."""

import pytest

from tests import ports


@pytest.fixture
def port() -> int:
    """A port on loopback that nobody listens at."""
    return ports.free(1)[0]
