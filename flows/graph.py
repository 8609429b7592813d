"""DVC's own graph: which stages there are, what each waits for, and which ones must run."""

from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

Graph = dict[str, list[str]]  # stage -> the stages it waits for, in an order in which they may run


def read_graph(root: Path) -> tuple[Graph, set[str]]:
    """The stages of `dvc.yaml` in an order in which they may run, and those whose inputs or outputs have changed."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        edges = repo.index.graph  # stage -> upstream
        upstream = {stage.name: [other.name for other in edges.successors(stage)] for stage in edges}
        with repo.lock:  # names, not addresses: those depend on the working directory
            changed = {stage.name for stage in edges if stage.status(check_updates=True)}
    return {stage: upstream[stage] for stage in TopologicalSorter(upstream).static_order()}, changed


def select(graph: Graph, datasets: Iterable[str]) -> Graph:
    """The stages of some datasets (`finetune@sample`), and those that belong to no single one (`report`)."""
    wanted = set(datasets)
    chosen = [stage for stage in graph if "@" not in stage or stage.partition("@")[2] in wanted]
    return {stage: [upstream for upstream in graph[stage] if upstream in chosen] for stage in chosen}


def due(graph: Graph, changed: set[str]) -> Graph:
    """The stages that must run: the changed ones and everything below them, each with what it must wait for."""
    found: Graph = {}
    for stage, upstream in graph.items():
        waits = [other for other in upstream if other in found]
        if stage in changed or waits:
            found[stage] = waits
    return found


def known_datasets(graph: Mapping[str, object]) -> list[str]:
    """Datasets that `dvc.yaml` has stages for."""
    return sorted({stage.partition("@")[2] for stage in graph if "@" in stage})
