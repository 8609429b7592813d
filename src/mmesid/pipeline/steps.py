"""What `make repro` asks of DVC, also where the source of a dataset is not on this machine.

Plain `dvc repro` refuses to work without a tracked source, and with `--allow-missing` it takes lost results for up to
date. So the stages of such a dataset that must run are named, each on its own: none of them but `ingest` needs the
source.
"""

from collections.abc import Sequence
from pathlib import Path

from mmesid.artifacts import source
from mmesid.errors import DataError
from mmesid.pipeline.graph import due, read_graph, select

ALONE = "--single-item"


def steps(datasets: Sequence[str], everything: bool, root: Path) -> list[str]:
    """The arguments of each `dvc repro`, in order.

    Args:
        datasets: to bring up to date.
        everything: they are all of `params.yaml`.
        root: the project's folder.

    Raises:
        DataError: `ingest` must run and its source is not here; the message says how to get it.
    """
    missing = [name for name in datasets if not (root / "sources" / name).exists()]
    if everything and not missing:
        return [""]
    present = [f"evaluate@{name}" for name in datasets if name not in missing]
    calls = [" ".join(present)] if present else []
    if named := _due(missing, root):
        calls.append(f"{ALONE} {' '.join(named)}")
    return [*calls, f"{ALONE} report"]


def _due(missing: Sequence[str], root: Path) -> list[str]:
    if not missing:
        return []
    graph, changed = read_graph(root)
    named = [stage for stage in due(select(graph, missing), changed) if "@" in stage]
    for name in missing:
        if f"ingest@{name}" in named:
            needed = source.missing(root / "sources" / name, root)
            raise DataError(f"ingest@{name} must run, and the files of sources/{name} are not here: {needed}")
    return named
