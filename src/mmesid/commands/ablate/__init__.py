"""`mmesid ablate`: every ablation of a dataset over some seeds, each an experiment of DVC's own pipeline.

What has its result is passed over, so that the same command goes on after a kill. Several processes share the work:
each takes a run that no other one holds. One that fails is reported, and the others are run.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmesid import config, host, tracking
from mmesid.artifacts import ablations as kept
from mmesid.artifacts import source
from mmesid.artifacts.ablations import AblationResult
from mmesid.artifacts.texts import save_text
from mmesid.commands.ablate import comparison, planning
from mmesid.commands.ablate.left_out import unread
from mmesid.commands.ablate.planning import DONE, DUE, LACKS, TWIN, Planned
from mmesid.commands.screen import duration
from mmesid.errors import DataError, PipelineError, first_line
from mmesid.pipeline import ablations, experiment, sources
from mmesid.pipeline.ablations import LAST, REFERENCE, Run
from mmesid.pipeline.mend import mend
from mmesid.pipeline.stage import StageError
from mmesid.reporting.ablations import AblationRow, section
from mmesid.reporting.document import Section, to_markdown
from mmesid.tracking.run import ABLATION, EXPERIMENT

Say = Callable[[str], object]
TABLE = "table.md"


def plan(dataset: str, only: Sequence[str], seeds: int, root: Path) -> list[Planned]:
    """What `run` would do.

    Args:
        dataset: name of a file in conf/.
        only: names of ablations; all without any. The reference is always among them.
        seeds: how many, from 0.
        root: the project's folder.

    Raises:
        ConfigError: there is no such dataset or ablation, or one does not fit.
    """
    config.check_conf(dataset, root)
    chosen = ablations.choose(ablations.read(root), only)
    return planning.plan(planning.runs(chosen, dataset, seeds, root), planning.costs(dataset, root), root)


def run(dataset: str, only: Sequence[str], seeds: int, root: Path, say: Say) -> list[AblationRow]:
    """Make what is missing, and write the table after each run.

    Args:
        dataset, only, seeds, root: as for `plan`.
        say: takes lines for a person.

    Returns:
        The table over all ablations.

    Raises:
        PipelineError: a run has failed; all others were run.
        DataError: something is to be made, and the source is not here.
    """
    config.check_conf(dataset, root)
    for line in [*mend(root), *sources.refresh([dataset], root)]:  # a result belongs to the source of the record
        say(line)
    planned = plan(dataset, only, seeds, root)
    say(summary(planned))
    files = root / "sources" / dataset
    if any(each.state == DUE for each in planned) and not files.exists():
        raise DataError(f"the files of sources/{dataset} are not here: {source.missing(files, root)}")
    failed = []
    for number, each in enumerate(planned, start=1):
        if each.state in (DONE, LACKS):
            continue
        place = f"[{number}/{len(planned)}] {each.run.label}"
        try:
            _make(each.run, root, lambda line, place=place: say(f"{place}: {line}"))  # type: ignore[misc]
        except StageError as error:  # its lines were passed on, and name files by their place in the experiment
            failed.append(each.run.label)
            folder = experiment.folder_of(_name(each.run), root).relative_to(root.absolute())
            say(f"{place}: {first_line(error).rstrip(':')}; the files that it speaks of lie below {folder}")
        write_table(dataset, root)
    tracking.send_pending(root)
    if failed:
        raise PipelineError(f"{'; '.join(failed)}: failed as said above; the same command tries them again")
    return write_table(dataset, root)


def _name(run: Run) -> str:
    """Of its experiment."""
    return f"ablate-{run.dataset}-{run.ablation.name}-seed-{run.seed}"


def _make(run: Run, root: Path, say: Say) -> None:
    """One run, unless another process is at it or has done it meanwhile. The code of now counts."""
    name = _name(run)
    folder = experiment.folder_of(name, root)
    try:
        with host.hold(folder.with_name(f"{name}.lock")):
            run = ablations.run_of(run.ablation, run.dataset, run.seed, ablations.codes(root), root)
            state, told = planning.state_of(run, root)
            if state == DUE:
                _train(run, name, folder, root, say)
            elif state == TWIN:
                twin = planning.twin_of(run, root)
                assert twin is not None
                kept.save(twin._replace(name=run.ablation.name), root)
                say(f"has the parameters and so the result of {told}")
    except host.HeldError:
        say("another process is at it")


def _train(run: Run, name: str, folder: Path, root: Path, say: Say) -> None:
    from mmesid.commands.ablate.gather import gather  # loads torch

    environment = {  # what is logged belongs to the ablation's own run in MLflow
        "MMESID_EXECUTION": name,
        ABLATION: run.ablation.name,
        EXPERIMENT: f"ablations-{run.dataset}",
    }
    experiment.make(folder, run.dataset, run.conf, root)
    spent = experiment.run(folder, f"{LAST}@{run.dataset}", environment, say)
    known = planning.costs(run.dataset, root).by_key
    seconds = {stage: spent.get(stage, known.get(key)) for stage, key in run.keys.items()}
    result = gather(run, folder, seconds)
    path = kept.save(result, root)
    _record(run, result, path, folder, environment)
    experiment.drop(folder)
    say(f"wrote {path.relative_to(root)}")


def _record(run: Run, result: AblationResult, path: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """A run in MLflow that has the result, also where every stage came from the cache and logged nothing."""
    with tracking.stage_run("ablation", config.load(run.dataset, folder), folder, environment) as log:
        log.params({"ablation": run.ablation.name, "key": run.key, **run.ablation.overrides})
        cost = {"tokens": result.tokens, **({"minutes": result.minutes} if result.minutes is not None else {})}
        log.summary({**{name: result.metrics[name] for name in ("test", "forgetting", "collapse")}, "cost": cost})
        for file in (path, path.with_suffix(".npz")):
            log.artifact(file)


def table(dataset: str, root: Path) -> list[AblationRow]:
    """Every ablation of conf/ablations.yaml, with what is kept of it; of a dataset without a conf as well."""
    known = list(ablations.read(root).values())
    return comparison.rows(known, dataset, _parameters(dataset, root), keys(dataset, root) or {}, root)


def _parameters(dataset: str, root: Path) -> dict[str, Any]:
    """By section, as the dataset's conf says, else as a kept result of its own parameters does."""
    if dataset in config.known_datasets(root):
        return ablations.parameters(config.load(dataset, root))
    own = (result for result in kept.load_all(root, dataset) if result.name == REFERENCE)
    return next((dict(result.parameters) for result in own), {})


def left_out(dataset: str, root: Path) -> dict[str, str]:
    """The ablations that are another one on a dataset than they tell, and why."""
    own = _parameters(dataset, root)
    return {name: reason for name, each in ablations.read(root).items() if (reason := unread(each, own))}


def keys(dataset: str, root: Path) -> dict[tuple[str, int], str] | None:
    """Of the runs that have a result, by ablation and seed, as they would be made now; None without the dataset's
    conf, where nobody can tell.
    """
    if dataset not in config.known_datasets(root):
        return None
    known, code_of = ablations.read(root), ablations.codes(root)
    found = {(result.name, result.seed) for result in kept.load_all(root, dataset) if result.name in known}
    return {
        (name, seed): ablations.run_of(known[name], dataset, seed, code_of, root).key for name, seed in sorted(found)
    }


def shown(dataset: str, rows: Sequence[AblationRow], root: Path) -> Section:
    """The table as it is printed."""
    return section(dataset, rows, dataset in config.known_datasets(root))


def write_table(dataset: str, root: Path) -> list[AblationRow]:
    """The table, also as `reports/ablations/<dataset>/table.md`."""
    rows = table(dataset, root)
    text = to_markdown([shown(dataset, rows, root)])
    path = kept.place(root, dataset) / TABLE
    save_text(path, text)
    return rows


def printed(planned: Sequence[Planned]) -> tuple[str, list[str], list[list[str]]]:
    """The plan as a table for the terminal."""
    heads = ["ablation", "seed", "", "trains from", "about how long"]
    rows = [
        [
            each.run.ablation.name,
            str(each.run.seed),
            f"{each.state} {each.told}".strip(),
            next(iter(each.stages), ""),
            duration(each.seconds) if each.state == DUE else "",
        ]
        for each in planned
    ]
    return "", heads, rows


def summary(planned: Sequence[Planned]) -> str:
    """One sentence: how much there is to do, and about how long it takes."""
    due = [each for each in planned if each.state == DUE]
    left = sum(each.state == LACKS for each in planned)
    without = f", {left} left out" if left else ""
    if not due:
        return f"{len(planned)} runs, all done{without}"
    known = [each.seconds for each in due if each.seconds is not None]
    time = f"about {duration(sum(known))}" if known else "nobody knows how long"
    lacking = f", without {len(due) - len(known)} of which nobody knows" if known and len(known) < len(due) else ""
    return f"{len(due)} of {len(planned)} runs to do, {time}{lacking}{without}"
