"""Prefect: order, retries, schedule, decisions. No algorithm, and no second copy of the graph in `dvc.yaml`."""

import sys
from pathlib import Path
from types import TracebackType

from mmesid import host


def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An import that fails, as Prefect's does by a variable that it does not take, is one line too."""
    from mmesid.errors import faults

    sys.stderr.write(f"Error: {faults.tell(error)}\n")


host.set_defaults(host.prefect_settings(Path(__file__).resolve().parents[1]))  # Prefect reads them when it is imported
host.spare_loopback()
host.name_user()
if sys.argv[0] == "-m":  # `python -m flows.NAME` imports this first, and Prefect for seconds after it
    host.end_at_once("stopped")
    sys.excepthook = tell
