"""What runs leave behind in MLflow: one experiment per dataset, a run per execution, a nested run per stage.

A stage only writes its journal (`journal.py`). From its first minute on a child process reads that file and sends it to
MLflow every two seconds (`delivery.py`), so that logging is live and neither slows nor fails a training. A stage that
was done before, and what a tracking server that is down has missed, stays pending, and the next stage, the end of the
pipeline or `mmesid log` sends it.
"""

from mmesid.tracking.delivery import Delivery, deliver, is_unreachable, send_pending
from mmesid.tracking.reading import Recorded, Version, artifact, recorded, versions
from mmesid.tracking.reaping import close_dead
from mmesid.tracking.run import (
    StageRun,
    checkout,
    execution,
    named_execution,
    provenance,
    silent_run,
    stage_run,
    warn,
)
from mmesid.tracking.sending import client, experiment_id, reach, runs_for, settle, tracking_uri

__all__ = [
    "Delivery",
    "Recorded",
    "StageRun",
    "Version",
    "artifact",
    "checkout",
    "client",
    "close_dead",
    "deliver",
    "execution",
    "experiment_id",
    "is_unreachable",
    "named_execution",
    "provenance",
    "reach",
    "recorded",
    "runs_for",
    "send_pending",
    "settle",
    "silent_run",
    "stage_run",
    "tracking_uri",
    "versions",
    "warn",
]
