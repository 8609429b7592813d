"""An S3 service on loopback, for a DVC remote and MLflow's artifacts."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import httpx
from moto.server import ThreadedMotoServer

BUCKET = "results"
KEYS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "the key to the bucket",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def served() -> Iterator[str]:
    """The service's address; it has one bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        httpx.post(f"{address}/moto-api/reset").raise_for_status()  # all servers of a process share what they keep
        store = boto3.client(
            "s3",
            endpoint_url=address,
            region_name=KEYS["AWS_DEFAULT_REGION"],
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )
        store.create_bucket(Bucket=BUCKET)
        yield address
    finally:
        server.stop()
