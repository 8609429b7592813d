"""Cleans up after a registration or promotion that was killed: its run and model, which MLflow still expects to finish,
the files that were gathered for it, and aliases that were moved in part.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmesid import tracking
from mmesid.registry.promotion import reconcile
from mmesid.registry.versions import drop_gathered, registry_lock
from mmesid.tracking import reaping

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def close_dead(dataset: str, root: Path = Path()) -> list[str]:
    """Close the dataset's registrations that are dead, and complete a move of aliases that was interrupted.

    Returns:
        A line for each run that was closed.
    """
    mlflow = tracking.client(root)
    lines: list[str] = []
    with registry_lock(dataset, root):  # every registration holds it, so none is running now
        for run in reaping.running_here(mlflow, root):
            tags = run.data.tags
            if tags.get("mmesid.stage") == "register" and tags.get("mmesid.dataset") == dataset:
                _give_up_models(mlflow, run)
                lines += reaping.close(mlflow, run, "KILLED")
        drop_gathered(dataset, root)
    reconcile(dataset, root)
    return lines


def _give_up_models(mlflow: "MlflowClient", run: Any) -> None:
    """The upload of the run's model will not be completed."""
    for model in mlflow.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"):
        if model.status == "PENDING":
            mlflow.finalize_logged_model(model.model_id, "FAILED")
