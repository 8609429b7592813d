"""Prefect: order, retries, schedule, decisions. No algorithm, and no second copy of the graph in `dvc.yaml`."""

import os
from pathlib import Path

# Prefect reads them at import. The server that a flow starts for itself needs 11-19 s, and the default limit is 20 s.
SETTINGS = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_HOME": str(Path(__file__).resolve().parents[1] / ".prefect"),  # all of its state is this checkout's
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
}
for name, value in SETTINGS.items():
    os.environ.setdefault(name, value)
