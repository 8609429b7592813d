"""One Prefect server for all flow tests: starting it takes longer than the flows do."""

from collections.abc import Iterator

import pytest

import flows  # noqa: F401  its settings must stand before prefect is imported


@pytest.fixture(scope="session")
def server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield
