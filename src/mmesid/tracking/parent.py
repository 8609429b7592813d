"""What the run of a whole execution carries beside its tags, so that MLflow's own pages compare executions:

every parameter of its dataset (`finetune.rank`), the metrics of `evaluate`, and the seconds of each stage that ran.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

JUDGE = "evaluate"  # the stage whose metrics are the execution's
BATCH = 100  # params that MLflow takes at a time
TEXT_LIMIT = 5000  # characters of a param or a tag


def carry_parameters(mlflow: "MlflowClient", run_id: str, parameters: Mapping[str, str]) -> None:
    """Log what the run does not have yet: MLflow refuses a second value, so the first of an execution stays."""
    known = mlflow.get_run(run_id).data.params
    log_params(mlflow, run_id, ((name, value) for name, value in parameters.items() if name not in known))


def log_params(mlflow: "MlflowClient", run_id: str, values: Iterable[tuple[str, str]]) -> None:
    """Log params of any run, as many and as long as MLflow takes."""
    from mlflow.entities import Param

    params = [Param(name, value[:TEXT_LIMIT]) for name, value in values]
    for first in range(0, len(params), BATCH):
        mlflow.log_batch(run_id, params=params[first : first + BATCH])


def carry_metrics(mlflow: "MlflowClient", run_id: str, stage: str, metrics: Sequence[Any]) -> None:
    """Log the final metrics of the execution; those of other stages stay on their own runs."""
    if stage == JUDGE and metrics:
        mlflow.log_batch(run_id, metrics=metrics)


def carry_seconds(mlflow: "MlflowClient", run_id: str, stage: str, started: int, ended: int) -> None:
    """Log how long a stage took; the last attempt counts."""
    mlflow.log_metric(run_id, f"seconds.{stage}", (ended - started) / 1000, timestamp=ended)
