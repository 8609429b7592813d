"""Prefect: order, retries, schedule, decisions. No algorithm, and no second copy of the graph in `dvc.yaml`."""

import sys
from pathlib import Path

from mmesid import host

host.set_defaults(host.prefect_settings(Path(__file__).resolve().parents[1]))  # Prefect reads them when it is imported
host.spare_loopback()
if sys.argv[0] == "-m":  # `python -m flows.NAME` imports this first, and Prefect for seconds after it
    host.end_at_once("stopped")
