"""S3 behind MLflow's artifacts: what is refused before anything starts, and what then goes there."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import boto3
import pytest

from mmesid.errors import ServiceError
from mmesid.servers import buckets, stack
from mmesid.servers.options import Options
from tests import faulty, s3

pytestmark = pytest.mark.pipeline


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("/srv/artifacts", "must be s3://BUCKET/PREFIX; it is '/srv/artifacts'"),
        ("gs://bucket", "must be s3://BUCKET/PREFIX"),
        ("s3:///prefix", "must be s3://BUCKET/PREFIX"),
        ("s3://key:secret@bucket", "without a key: set AWS_ACCESS_KEY_ID"),
    ],
)
def test_what_is_no_place_for_artifacts_is_said_without_its_key(place: str, message: str) -> None:
    with pytest.raises(ServiceError, match=message) as caught:
        buckets.check(place)
    assert "secret" not in str(caught.value)


def test_artifacts_in_s3_without_its_package_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ServiceError, match=r"boto3, which is not installed: .*'boto3>="):
        buckets.check("s3://bucket")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3.served() as address:
        for name, value in {**s3.KEYS, "MLFLOW_S3_ENDPOINT_URL": address}.items():
            monkeypatch.setenv(name, value)
        yield address


def test_a_bucket_is_written_and_left_as_it_was(store: str) -> None:
    buckets.probe(f"s3://{s3.BUCKET}")
    buckets.probe(f"s3://{s3.BUCKET}/prefix/")
    assert boto3.client("s3", endpoint_url=store).list_objects_v2(Bucket=s3.BUCKET)["KeyCount"] == 0


def test_a_bucket_that_cannot_be_written_is_one_message(store: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceError, match=rf"s3://nobody/x at {store} cannot be written \(NoSuchBucket"):
        buckets.probe("s3://nobody/x")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(ServiceError, match=r"cannot be written \(EndpointConnectionError"):
        buckets.probe(f"s3://{s3.BUCKET}")


def test_a_store_that_never_answers_is_asked_once(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "SECONDS", 2)
    started = time.monotonic()
    with faulty.hanging("MLFLOW_S3_ENDPOINT_URL", "http://{}")(tmp_path) as found:
        monkeypatch.setenv(*next(iter(found.items())))
        with pytest.raises(ServiceError, match=r"cannot be written \(ReadTimeoutError"):
            buckets.probe(f"s3://{s3.BUCKET}")
    assert time.monotonic() - started < 9  # five tries, as S3 clients make by default, take more than ten


def test_artifacts_go_where_the_option_says_through_the_server(tmp_path: Path) -> None:
    command = stack.mlflow(Options(artifacts="s3://bucket/prefix"), tmp_path, None).command
    assert command[-2:] == ["--artifacts-destination", "s3://bucket/prefix"]
    command = stack.mlflow(Options(), tmp_path, None).command
    assert command[-2:] == ["--default-artifact-root", str(tmp_path / "mlruns" / "artifacts")]


class Experiments(BaseHTTPRequestHandler):
    """What MLflow's server answers when asked for its experiments."""

    def do_POST(self) -> None:
        places = {"toys": "file:///toys", "books": "mlflow-artifacts:/2"}
        found = [{"name": name, "artifact_location": place} for name, place in places.items()]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"experiments": found}).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def mlflow() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Experiments) as server:
        Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


def test_an_experiment_whose_artifacts_lie_elsewhere_is_named(mlflow: int) -> None:
    options = Options(mlflow_port=mlflow, artifacts="s3://bucket")
    (line,) = buckets.artifacts_elsewhere(options, ["toys", "books", "new"])
    assert line.startswith("toys keeps its artifacts there")
    assert line.endswith("file:///toys")
    options = options._replace(artifacts=None)
    assert buckets.artifacts_elsewhere(options, ["toys", "new"]) == []
    with pytest.raises(ServiceError, match="artifacts of books lie in the earlier --artifacts-destination"):
        buckets.artifacts_elsewhere(options, ["toys", "books"])
