"""What a kill during a registration leaves behind: a run and a model that MLflow takes to be in the making, the files
that were gathered for it, and aliases half moved.
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
    with registry_lock(dataset, root):  # whoever registers holds it: with it in hand, nobody does
        for run in reaping.running_here(mlflow, root):
            tags = run.data.tags
            if tags.get("mmesid.stage") == "register" and tags.get("mmesid.dataset") == dataset:
                _give_up_models(mlflow, run)
                lines += reaping.close(mlflow, run, "KILLED")
        drop_gathered(dataset, root)
    reconcile(dataset, root)
    return lines


def _give_up_models(mlflow: "MlflowClient", run: Any) -> None:
    """A model that the run was uploading will never be whole."""
    for model in mlflow.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"):
        if model.status == "PENDING":
            mlflow.finalize_logged_model(model.model_id, "FAILED")
