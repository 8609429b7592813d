"""S3 behind MLflow's artifacts: `mmesid up --artifacts-destination s3://BUCKET/PREFIX`, tried before anything starts.

The option, the variables and the keys are those of `mlflow server`: MLflow's server alone speaks to S3, and whoever
speaks to MLflow needs no keys.
"""

import importlib.util
import os
import uuid
from urllib.parse import urlsplit

from mmesid.errors import ServiceError, without_secret

FORM = "--artifacts-destination must be s3://BUCKET/PREFIX"
INSTALL = "uv pip install 'boto3>=1.40' (or pip install 'mme-sid[s3]')"
SECONDS = 10  # that a store has for an answer


def check(place: str) -> None:
    """Raises ServiceError where the text is no place in S3, or holds a key, or the package for it is missing."""
    parts = urlsplit(place)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise ServiceError(f"{FORM}; it is {without_secret(place)!r}")
    if parts.username:
        raise ServiceError(f"{FORM} without a key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
    if importlib.util.find_spec("boto3") is None:
        raise ServiceError(f"S3 needs the package boto3, which is not installed: {INSTALL}, then run this again")


def probe(place: str) -> None:
    """Write and delete one small object, with the address and the keys that MLflow's server will use.

    Raises:
        ServiceError: the bucket is out of reach or cannot be written.
    """
    check(place)
    import boto3
    from botocore.config import Config

    endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL") or None
    verify = False if os.environ.get("MLFLOW_S3_IGNORE_TLS", "").lower() in ("true", "1") else None
    patience = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 2})
    parts = urlsplit(place)
    key = f"{parts.path.strip('/')}/.mmesid-{uuid.uuid4().hex}".lstrip("/")
    try:
        store = boto3.client("s3", endpoint_url=endpoint, verify=verify, config=patience)
        store.put_object(Bucket=parts.netloc, Key=key, Body=b"")
        store.delete_object(Bucket=parts.netloc, Key=key)
    except Exception as error:  # of boto3, botocore or urllib3: no common base
        at = f" at {without_secret(endpoint)}" if endpoint else ""
        text = without_secret(str(error).strip().partition("\n")[0]) or type(error).__name__
        raise ServiceError(
            f"--artifacts-destination {place}{at} cannot be written ({type(error).__name__}: {text[:300]}); check "
            "bucket, MLFLOW_S3_ENDPOINT_URL and keys (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
        ) from None
