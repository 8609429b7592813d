"""Prefect: order, retries, schedule, decisions. No algorithm, and no second copy of the graph in `dvc.yaml`."""

from pathlib import Path

from mmesid import host

host.set_defaults(host.prefect_settings(Path(__file__).resolve().parents[1]))  # Prefect reads them when it is imported
