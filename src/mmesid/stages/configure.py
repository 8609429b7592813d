"""A dataset's parameters after all overrides, checked: what every other stage reads, and DVC compares key by key."""

import sys

from mmesid import config as configuration
from mmesid.stages.entry import main_untracked


def run(dataset: str) -> None:
    """See `dvc.yaml`; writes `data/<dataset>/configure/params.yaml`."""
    text = configuration.resolved_text(dataset)
    for line in configuration.without_effect(dataset):
        sys.stderr.write(f"configure@{dataset}: {line}\n")
    path = configuration.resolved_path(dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main_untracked(run)
