"""One browser for all, and a checkout with its servers: on sqlite and files, then on Postgres and S3."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import ports, s3, tiny
from tests.e2e.browser import Window, opened
from tests.e2e.postgres import PASSWORD, Postgres
from tests.e2e.stack import Stack, schedule_all_the_time


class Storage(NamedTuple):
    """Where everything is kept."""

    options: list[str]  # of `mmesid up`
    variables: dict[str, str]  # of the environment
    remote: list[str]  # arguments of `mmesid remote`
    postgres: Postgres | None
    secrets: tuple[str, ...]


@pytest.fixture(scope="session")
def window() -> Iterator[Window]:
    with opened() as window:
        yield window


@pytest.fixture(scope="session", params=["local", "postgres+s3"])
def storage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    if request.param == "local":
        yield Storage([], {}, [str(tmp_path_factory.mktemp("remote"))], None, ())
        return
    with s3.served() as address, Postgres(*ports.free(1)) as postgres:
        options = ["--artifacts-destination", f"s3://{s3.BUCKET}/mlflow"]
        variables = {**s3.KEYS, "MLFLOW_S3_ENDPOINT_URL": address, "MMESID_POSTGRES": postgres.url}
        remote = [f"s3://{s3.BUCKET}/dvc", "--endpoint-url", address]
        yield Storage(options, variables, remote, postgres, (PASSWORD, s3.KEYS["AWS_SECRET_ACCESS_KEY"]))


@pytest.fixture(scope="session")
def stack(storage: Storage, trained: tiny.Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The trained world, committed to git, judged by other users than before, and with `mmesid up` in it."""
    root = Path(shutil.copytree(trained.root, tmp_path_factory.mktemp("stack") / "checkout", symlinks=True))
    shutil.rmtree(root / "mlruns")
    schedule_all_the_time(root)
    tiny.override(root, {"evaluate": {"bootstrap": 101}})
    stack = Stack(root, storage.options, storage.variables)
    try:
        stack.run("git", "add", ".")
        stack.run("git", "add", "--force", f"sources/{tiny.NAME}")
        stack.run("git", *COMMIT)
        stack.up()
        yield stack
    finally:
        stack.down()


COMMIT = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "a tiny world"]
