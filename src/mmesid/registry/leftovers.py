"""What a kill during a registration leaves behind: a run that MLflow takes to be running, and aliases half moved."""

from pathlib import Path

from mmesid import tracking
from mmesid.registry.promotion import reconcile
from mmesid.registry.versions import registry_lock
from mmesid.tracking import reaping


def close_dead(dataset: str, root: Path = Path()) -> list[str]:
    """Close the dataset's registrations that are dead, and complete a move of aliases that was interrupted.

    Returns:
        A line for each run that was closed.
    """
    mlflow = tracking.client(root)
    lines: list[str] = []
    with registry_lock(dataset, root):  # whoever registers holds it: with it in hand, nobody does
        for run in reaping.running_here(mlflow, root):
            tags = run.data.tags
            if tags.get("mmesid.stage") == "register" and tags.get("mmesid.dataset") == dataset:
                lines += reaping.close(mlflow, run, "KILLED")
    reconcile(dataset, root)
    return lines
