"""What an ablation command would run, and about how long: decided by keys, foretold from what earlier runs took."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmesid import config
from mmesid.artifacts import ablations as kept
from mmesid.artifacts.ablations import AblationResult
from mmesid.commands.ablate.left_out import absent_modalities, unread
from mmesid.commands.plan import durations
from mmesid.commands.weights import lacking
from mmesid.pipeline import ablations
from mmesid.pipeline.ablations import REFERENCE, Ablation, Run

DONE, TWIN, DUE, LACKS = "done", "equal to", "to run", "left out:"


class Planned(NamedTuple):
    """A run, and what is to be done for it."""

    run: Run
    state: str  # DONE, TWIN (then `told` names the run whose result it has), DUE, or LACKS (what brings it)
    told: str
    stages: list[str]  # to train, as far as is known: DVC's cache may hold more
    seconds: float | None  # of these; None where nobody knows


class Costs(NamedTuple):
    """Seconds of stages as they were taken before."""

    by_key: Mapping[str, float]  # of what has the same key
    by_run: Mapping[tuple[str, str], float]  # of a stage of an ablation, whatever its seed
    usual: Mapping[str, float]  # of a stage

    def of(self, name: str, stage: str) -> float | None:
        """About how long a stage of an ablation takes."""
        return self.by_run.get((name, stage), self.by_run.get((REFERENCE, stage), self.usual.get(stage)))


def runs(chosen: Sequence[Ablation], dataset: str, seeds: int, root: Path) -> list[Run]:
    """Every ablation with the first seed, then with the next: a night that ends early has told of all.

    Raises:
        ConfigError: an ablation does not fit the dataset.
    """
    code_of = ablations.codes(root)
    return [ablations.run_of(each, dataset, seed, code_of, root) for seed in range(seeds) for each in chosen]


def costs(dataset: str, root: Path) -> Costs:
    """From kept results and, for the dataset's own parameters, from MLflow."""
    by_key: dict[str, float] = {}
    by_run: dict[tuple[str, str], float] = {}
    for result in kept.load_all(root, dataset):
        for stage, told in result.stages.items():
            if told["seconds"] is not None:
                by_key[told["key"]] = told["seconds"]
                by_run[result.name, stage] = told["seconds"]
    recorded, _ = durations([dataset], root)
    usual = {name.partition("@")[0]: seconds for name, seconds in recorded.items()}
    own = ablations.keys(config.load(dataset, root), ablations.codes(root), root)
    return Costs({own[stage]: usual[stage] for stage in own if stage in usual} | by_key, by_run, usual)


def plan(wanted: Iterable[Run], known: Costs, root: Path) -> list[Planned]:
    """What each run needs; a stage that an earlier one trains is there for the later ones."""
    planned, made = [], set(known.by_key)
    results: dict[str, str] = {}
    for run in wanted:
        state, told = state_of(run, root)
        if state == DUE and run.key in results:
            state, told = TWIN, results[run.key]
        due = [stage for stage, key in run.keys.items() if key not in made] if state == DUE else []
        if state != LACKS:  # what is left out trains nothing for the others
            results.setdefault(run.key, run.label)
            made |= set(run.keys.values())
        seconds = [known.of(run.ablation.name, stage) for stage in due]
        total = sum(part for part in seconds if part is not None) if None not in seconds else None
        planned.append(Planned(run, state, told, due, total))
    return planned


def state_of(run: Run, root: Path) -> tuple[str, str]:
    """Whether a run is none here (why), has its result, another one has the same (which one), or something is missing
    (what brings it).
    """
    absent = [f"encode_content.{modality} is none" for modality in absent_modalities(run.ablation, run.parameters)]
    if reason := next(iter(absent), unread(run.ablation, run.parameters)):
        return LACKS, reason
    own = kept.load(root, run.dataset, run.ablation.name, run.seed)
    if own is not None and own.key == run.key:
        return DONE, ""
    twin = twin_of(run, root)
    if twin:
        return TWIN, f"{twin.name}, seed {twin.seed}"
    remedy = next(iter(lacking(run.settings).values()), "")
    return (LACKS, remedy) if remedy else (DUE, "")


def twin_of(run: Run, root: Path) -> AblationResult | None:
    """A result that was made with the same parameters, code and source under another name."""
    found = (kept.load(root, run.dataset, path.name, run.seed) for path in kept.place(root, run.dataset).glob("*/"))
    return next((result for result in found if result is not None and result.key == run.key), None)
