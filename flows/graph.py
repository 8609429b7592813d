"""DVC's own graph, as the flows use it; `mmesid.pipeline` reads it."""

from pathlib import Path

from mmesid.pipeline import Graph, due, known_datasets, read, select

__all__ = ["Graph", "due", "known_datasets", "read_graph", "select"]


def read_graph(root: Path) -> tuple[Graph, set[str]]:
    """The stages of `dvc.yaml` in an order in which they may run, and those whose inputs or outputs have changed."""
    stages = read(root)
    return {stage.name: stage.upstream for stage in stages}, {stage.name for stage in stages if stage.changes}
