"""The deployments of `prefect.yaml`, one for each dataset of `params.yaml`, those of `mmesid add` included."""

import copy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mmesid import config
from mmesid.artifacts.texts import save_text
from mmesid.config.loading import load_yaml
from mmesid.errors import ConfigError
from mmesid.tracking import checkout


def complete(root: Path) -> dict[str, Any]:
    """The content of `prefect.yaml`, completed for the datasets of `params.yaml`.

    A dataset without a deployment of its own gets the first one's, under its own name. All carry the checkout's tag.

    Raises:
        ConfigError: there is no first one to copy, or the file is no YAML.
    """
    path = root / "prefect.yaml"
    try:
        content = load_yaml(path)
        written = {deployment["name"]: deployment for deployment in content["deployments"]}
        pattern = content["deployments"][0]
    except (OSError, LookupError, TypeError) as error:
        raise ConfigError(f"{path} must list `deployments`, each with a name ({error!r})") from None
    deployments = []
    for dataset in config.datasets(root):
        deployment = copy.deepcopy(written.get(dataset, pattern))
        deployment["name"] = dataset
        deployment["parameters"] = {**(deployment.get("parameters") or {}), "datasets": [dataset]}
        deployment["tags"] = [dataset, tag(root)]
        deployments.append(deployment)
    pull = {"prefect.deployments.steps.set_working_directory": {"directory": str(root.absolute())}}
    return {"prefect-version": content.get("prefect-version"), "pull": [pull], "deployments": deployments}


def tag(root: Path) -> str:
    """Which checkout a flow run belongs to: several may share a server."""
    return f"checkout-{checkout(root)}"


def outlived(listed: Sequence[Mapping[str, Any]], root: Path) -> dict[str, str]:
    """Deployments that a dataset has left behind: name -> id.

    Args:
        listed: deployments on the server.
        root: the project's folder; another checkout's, and what a person has made beside ours, are left alone.
    """
    datasets = config.datasets(root)
    return {
        deployment["name"]: deployment["id"]
        for deployment in listed
        if tag(root) in deployment["tags"]
        and deployment["name"] not in datasets
        and deployment["parameters"].get("datasets") == [deployment["name"]]
    }


def write(root: Path) -> Path:
    """Write the completed file, for `prefect deploy`."""
    path = root / ".prefect" / "deployments.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(complete(root), sort_keys=False)
    save_text(path, text)
    return path


def command(root: Path) -> list[str]:
    """Applies them."""
    return [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(write(root))]
