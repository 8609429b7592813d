"""S3 behind MLflow's artifacts: `mmesid up --artifacts-destination s3://BUCKET/PREFIX`, tried before anything starts.

The option, the variables and the keys are those of `mlflow server`: MLflow's server alone speaks to S3, and whoever
speaks to MLflow needs no keys. A DVC remote in S3 is read here as well, for the doctor.
"""

import importlib.util
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from mmesid.errors import ServiceError, first_line, without_secret
from mmesid.servers.access import mlflow_login
from mmesid.servers.options import Options

FORM = "--artifacts-destination must be s3://BUCKET/PREFIX"
INSTALL = "uv pip install 'boto3>=1.40' (or pip install 'mme-sid[s3]')"
KEYS = {  # of a DVC remote's section, as boto3 names them
    "profile": "profile_name",
    "region": "region_name",
    "access_key_id": "aws_access_key_id",
    "secret_access_key": "aws_secret_access_key",
    "session_token": "aws_session_token",
}
SECONDS = 4  # that a store has for an answer, which it is asked for once


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

    endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL") or None
    verify = False if os.environ.get("MLFLOW_S3_IGNORE_TLS", "").lower() in ("true", "1") else None
    parts = urlsplit(place)
    key = f"{parts.path.strip('/')}/.mmesid-{uuid.uuid4().hex}".lstrip("/")
    try:
        store = boto3.client("s3", endpoint_url=endpoint, verify=verify, config=_impatient())
        store.put_object(Bucket=parts.netloc, Key=key, Body=b"")
        store.delete_object(Bucket=parts.netloc, Key=key)
    except Exception as error:  # of boto3, botocore or urllib3: no common base
        at = f" at {without_secret(endpoint)}" if endpoint else ""
        raise ServiceError(
            f"--artifacts-destination {place}{at} cannot be written ({type(error).__name__}: {first_line(error)}); "
            "check bucket, MLFLOW_S3_ENDPOINT_URL and keys (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE)"
        ) from None


def unreadable(remote: Mapping[str, str]) -> str | None:
    """What keeps a DVC remote in S3 from being read, within seconds, whatever keys, names and networks do.

    Args:
        remote: its section of `.dvc/config`.

    Returns:
        Empty if nothing does; None where it cannot be tried: its section says what boto3 has another way for.
    """
    if set(remote) - {*KEYS, "url", "endpointurl", "read_timeout", "connect_timeout"}:
        return None
    import boto3

    said: list[str] = []

    def ask() -> None:
        parts = urlsplit(remote["url"])
        try:
            session = boto3.Session(**{KEYS[name]: value for name, value in remote.items() if name in KEYS})
            store = session.client("s3", endpoint_url=remote.get("endpointurl"), config=_impatient())
            store.list_objects_v2(Bucket=parts.netloc, Prefix=parts.path.strip("/"), MaxKeys=1)
            said.append("")
        except Exception as error:  # of boto3, botocore or urllib3: no common base
            said.append(f"cannot be read ({type(error).__name__}: {first_line(error)})")

    asking = threading.Thread(target=ask, daemon=True)  # nothing interrupts who looks up a name or a key
    asking.start()
    asking.join(SECONDS + 2)
    return said[0] if said else f"does not answer within {SECONDS + 2} s"


def _impatient() -> Any:
    from botocore.config import Config

    return Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 1})


def artifacts_elsewhere(options: Options, names: Sequence[str]) -> list[str]:
    """A line for each experiment that keeps its artifacts outside of --artifacts-destination: MLflow moves none.

    Args:
        options: of servers that answer.
        names: of experiments; one that does not exist yet will be where the options say.

    Raises:
        ServiceError: artifacts lie in a store that --artifacts-destination named before, and nothing names it now.
    """
    places = _artifact_locations(options)
    in_store = [name for name in names if places.get(name, "").startswith("mlflow-artifacts:")]
    if not options.artifacts:
        if in_store:
            lost = ", ".join(in_store)
            raise ServiceError(f"artifacts of {lost} lie in the earlier --artifacts-destination: name it again")
        return []
    why = "keeps its artifacts there, since MLflow moves none; an experiment renamed in MLflow makes room for a new one"
    return [f"{name} {why}: {places[name]}" for name in names if name in places and name not in in_store]


def _artifact_locations(options: Options) -> dict[str, str]:
    """Experiment -> where its artifacts lie."""
    import httpx

    url = f"{options.mlflow}/api/2.0/mlflow/experiments/search"
    answer = httpx.post(url, json={"max_results": 1000}, auth=mlflow_login(), timeout=30, trust_env=False)
    experiments = answer.raise_for_status().json().get("experiments", [])
    return {experiment["name"]: experiment["artifact_location"] for experiment in experiments}
