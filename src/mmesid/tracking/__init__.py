"""What runs leave behind in MLflow: one experiment per dataset, a run per execution, a nested run per stage.

A stage only writes its journal (`journal.py`). A child process reads that file and sends it to MLflow every two
seconds (`sending.py`), so that logging is live and neither slows nor fails a training. What a tracking server that is
down has missed stays pending, and the next stage or `mmesid log` sends it.
"""

from mmesid.tracking.run import StageRun, execution, provenance, silent_run, stage_run
from mmesid.tracking.sending import client, close_execution, experiment_id, runs_for, send_pending, tracking_uri

__all__ = [
    "StageRun",
    "client",
    "close_execution",
    "execution",
    "experiment_id",
    "provenance",
    "runs_for",
    "send_pending",
    "silent_run",
    "stage_run",
    "tracking_uri",
]
