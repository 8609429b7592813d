"""DVC's own graph: which stages there are, what each waits for, what has changed, and how large its results are.

The only reader of the graph: `mmesid plan` shows it and the flows run it. Reading changes no file of the project.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

from mmesid import config as configuration
from mmesid.errors import ConfigError, PipelineError
from mmesid.pipeline import sources
from mmesid.pipeline.repo import opened

Graph = dict[str, list[str]]  # stage -> the stages it waits for, in an order in which they may run

NEVER_RAN, RUNNING, COMMAND, DEPENDENCY, PARAMETER, OUTPUT = (
    "never ran",
    "running",
    "command",
    "dependency",
    "parameter",
    "output",
)
MISSING = "missing"  # a change's detail


class Change(NamedTuple):
    """Why a stage is not up to date."""

    kind: str  # one of the six above
    name: str = ""  # path or key
    detail: str = ""  # modified, missing, 12 → 14
    producers: tuple[str, ...] = ()  # stages whose outputs a changed dependency is, holds or lies in


class Stage(NamedTuple):
    """A stage of `dvc.yaml` as it stands now."""

    name: str  # finetune@sample
    upstream: list[str]
    changes: list[Change]
    restorable: bool  # only outputs are gone, and DVC's cache holds them
    size: int | None  # bytes of its outputs, by dvc.lock, else as they lie on disk; None where there are none


def read(root: Path = Path()) -> list[Stage]:
    """Every stage, in an order in which they may run.

    Args:
        root: the project's folder.

    Raises:
        PipelineError: DVC cannot read the pipeline, or another dvc holds its lock.
    """
    with opened(root) as repo:
        edges = repo.index.graph  # stage -> upstream; a tracked source is one too, without a command and a name
        stages = {stage.name: stage for stage in edges if stage.cmd}  # addresses depend on the working directory
        upstream = {
            name: [other.name for other in edges.successors(stage) if other.cmd] for name, stage in stages.items()
        }
        with repo.lock:
            found = {name: _changes(stage, list(edges.successors(stage)), root) for name, stage in stages.items()}
        return [
            Stage(name, upstream[name], found[name], _restorable(stages[name], found[name]), _size(stages[name]))
            for name in TopologicalSorter(upstream).static_order()
        ]


def check_one_run(dataset: str, root: Path = Path()) -> None:
    """Refuse a dataset whose outputs are of several runs: a stage was run, stopped or edited, and none below it since.

    A model from there would be judged by the ranks of another one. What is missing is no fault here, and neither are
    parameters or code that have changed since.

    Raises:
        PipelineError: it is so, or DVC cannot read the pipeline, or another dvc works here.
    """
    stages = [stage for stage in read(root) if stage.name.partition("@")[2] == dataset]
    if all(Change(NEVER_RAN) in stage.changes for stage in stages):
        return  # outputs that were brought here without their record: nobody tells where they come from
    for stage in stages:
        for change in stage.changes:
            read_from = change.kind == DEPENDENCY and change.name.startswith(f"data/{dataset}/")
            differs = (change.kind == OUTPUT or read_from) and change.detail != MISSING
            if differs or change.kind in (NEVER_RAN, RUNNING):
                what = " ".join(filter(None, [change.name, change.detail])) or change.kind
                raise PipelineError(
                    f"what lies in data/{dataset} is not of one run ({stage.name}: {what}); "
                    f"`make repro DATASETS={dataset}` brings it up to date first"
                )


def read_graph(root: Path) -> tuple[Graph, set[str]]:
    """The stages of `dvc.yaml` in an order in which they may run, and those whose inputs or outputs have changed."""
    stages = read(root)
    return {stage.name: stage.upstream for stage in stages}, {stage.name for stage in stages if stage.changes}


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
        if stage in changed or any(is_reason(other, stage) for other in waits):
            found[stage] = waits
    return found


def is_reason(above: str, stage: str) -> bool:
    """Whether a run of `above` is a reason to run `stage`, which waits for it.

    Of what `configure` writes a dataset's stage reads single values, and those that differ are reasons of their own.
    """
    return not (above.startswith("configure@") and "@" in stage)


def known_datasets(graph: Mapping[str, object]) -> list[str]:
    """Datasets that `dvc.yaml` has stages for."""
    return sorted({stage.partition("@")[2] for stage in graph if "@" in stage})


def _changes(stage: Any, upstream: Sequence[Any], root: Path) -> list[Change]:
    """What differs from the stage's last run, by the checks that `dvc repro` makes."""
    from dvc.lock import LockError

    try:
        with suppress(FileNotFoundError):  # the link of a source leads nowhere, which `_of_source` judges
            stage.status(check_updates=True)
        if not any(out.hash_info for out in stage.outs):
            return [Change(NEVER_RAN)]
        return [
            *([Change(COMMAND, stage.cmd)] if stage.changed_stage() else []),
            *(change for dep in stage.deps for change in _of_dependency(dep, stage.name, upstream, root)),
            *(Change(OUTPUT, name, _word(status)) for out in stage.outs for name, status in out.status().items()),
        ]
    except LockError:
        return [Change(RUNNING)]


def _of_dependency(dep: Any, stage: str, upstream: Sequence[Any], root: Path) -> list[Change]:
    from dvc.dependency.param import ParamsDependency

    if isinstance(dep, ParamsDependency):
        dataset = stage.partition("@")[2]
        resolved = Path(dep.fs_path) == configuration.resolved_path(dataset, root.resolve())
        return _of_resolved(dep, dataset, root) if resolved else _of_parameters(dep)
    if Path(dep.fs_path).parent == root.resolve() / "sources":
        return _of_source(dep, upstream)
    path = Path(str(dep))
    producers = {Path(str(out)): other.name for other in upstream if other.cmd for out in other.outs}
    of = {name for out, name in producers.items() if path.is_relative_to(out) or out.is_relative_to(path)}
    return [Change(DEPENDENCY, name, _word(status), tuple(sorted(of))) for name, status in dep.status().items()]


def _of_source(dep: Any, upstream: Sequence[Any]) -> list[Change]:
    """One that is not here has changed only if `sources/<dataset>.dvc` tells another state than the last run saw."""
    folder = Path(dep.fs_path)
    if not folder.exists():
        told = [out.hash_info for other in upstream for out in other.outs if out.fs_path == dep.fs_path]
        changed = not dep.hash_info or any(state != dep.hash_info for state in told)
    else:
        changed = bool(dep.status()) or sources.outside_changed(folder, dep.repo)
    return [Change(DEPENDENCY, str(dep), "modified")] if changed else []


def _of_parameters(dep: Any) -> list[Change]:
    """The single keys that differ; DVC itself names the section only."""
    if not dep.status():
        return []
    file = "" if str(dep) == dep.DEFAULT_PARAMS_FILE else f"{dep}: "
    changes = _of_values(dep.hash_info.value or {}, dep.read_params(), file)
    return changes or [Change(PARAMETER, str(dep), "modified")]


def _of_resolved(dep: Any, dataset: str, root: Path) -> list[Change]:
    """The keys that differ from what `configure` would write now, whatever it wrote when it ran last."""
    from dvc.utils.serialize import parse_yaml

    try:
        now = parse_yaml(configuration.resolved_text(dataset, root), str(dep))
    except ConfigError:  # `configure` will fail and say why
        return [Change(PARAMETER, str(dep), "wrong")]
    return _of_values(dep.hash_info.value or {}, {name: now[name] for name in dep.params if name in now})


def _of_values(before: Mapping[str, Any], now: Mapping[str, Any], file: str = "") -> list[Change]:
    old, new = dict(configuration.flatten(before)), dict(configuration.flatten(now))
    keys = [key for key in {**old, **new} if old.get(key, ...) != new.get(key, ...)]
    return [Change(PARAMETER, file + key, f"{_value(old, key)} → {_value(new, key)}") for key in keys]


def _value(values: Mapping[str, Any], key: str) -> str:
    return str(values[key]) if key in values else "not there"


def _word(status: object) -> str:
    return {"deleted": MISSING}.get(str(status), str(status))


def _restorable(stage: Any, changes: list[Change]) -> bool:
    """Whether `dvc repro` only fetches lost outputs from its cache."""
    return bool(changes) and all(change.kind == OUTPUT for change in changes) and stage.outs_cached()


def _size(stage: Any) -> int | None:
    sizes = [out.meta.size if out.meta.size is not None else _on_disk(Path(out.fs_path)) for out in stage.outs]
    known = [size for size in sizes if size is not None]
    return sum(known) if known else None


def _on_disk(path: Path) -> int | None:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else None
