"""From challenger to champion and back.

A decision is written before the aliases move. If a crash interrupts the move, the next call completes it: a tag of the
version names the record, and the record says which aliases to move.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmesid import config as configuration
from mmesid import serving, tracking
from mmesid.artifacts.store import Store
from mmesid.config import Config
from mmesid.errors import RegistryError
from mmesid.registry import files
from mmesid.registry.decisions import OUTCOME, been_champion, paths_of, records_of
from mmesid.registry.evidence import evidence_digest, gather
from mmesid.registry.files import DIGEST
from mmesid.registry.gate import Clause, decide
from mmesid.registry.records import BY_HAND, Record, describe, moment, to_json
from mmesid.registry.versions import ROLLED_BACK, model_name, registry_lock, verdict_tag, version_of, versions

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

MOVE = "mmesid.move"  # tag of a version that is to be champion: the path of its record, then DONE or DROPPED
DONE, DROPPED = "done", "dropped"
JUDGED = "mmesid.judged"  # tag of a challenger that failed: digest of what the decision was based on


def promote(dataset: str, root: Path = Path()) -> Record:
    """Make the challenger the champion, if it passes the gate.

    Promoting the champion itself, or a challenger that has failed on the very same evidence, decides nothing new: the
    existing record is returned, and it is older than the call. A failure of a volatile clause is not final: the
    challenger is judged again.

    Args:
        dataset: its `evaluate` stage is done and its model registered.
        root: the project's folder.

    Raises:
        RegistryError: there is no challenger, or the pipeline has trained another model since it was registered, or
            files are lost without which nothing can be judged.
        ArtifactError: an output of the pipeline is missing.
    """
    config, mlflow = configuration.load_run(dataset, root), tracking.client(root)
    with registry_lock(dataset, root):
        _finish_moves(mlflow, dataset)
        challenger, champion = version_of(mlflow, dataset, "challenger"), version_of(mlflow, dataset, "champion")
        if challenger is None:
            raise RegistryError(f"{model_name(dataset)} has no challenger; register a model first: mmesid register")
        files.check_files(mlflow, challenger, "challenger", thorough=True)
        if champion is not None and champion.version == challenger.version:
            return _last_record(mlflow, dataset, challenger)
        _check_trained_last(challenger, config, root)
        basis = _basis(config, root, challenger, champion)
        known = [record for record in records_of(mlflow, challenger).values() if record.kind == "promotion"]
        if challenger.tags.get(JUDGED) == basis and known and not known[-1].passed:
            return known[-1]
        decision = decide(gather(config, root, _stand_in(mlflow, champion, challenger)), config.gate, config.seed)
        clauses = [*decision.clauses, _not_rolled_back(challenger)]
        failed = [clause for clause in clauses if not clause.passed]
        record = _record(dataset, "promotion", challenger, champion, not failed, clauses)
        path = _write(mlflow, challenger, record)
        if any(not clause.volatile for clause in failed):  # else the next try may end otherwise
            mlflow.set_model_version_tag(challenger.name, challenger.version, JUDGED, basis)
        _move(mlflow, dataset, challenger, record, path)
    return record


def rollback(dataset: str, root: Path = Path(), to: int | None = None) -> Record:
    """Make an earlier champion the champion again; from then on the gate refuses the version that it replaces.

    Args:
        dataset: it has had a champion; where somebody has deleted that, nothing is refused.
        root: the project's folder.
        to: a version that has been champion; without it the previous one, unless a rollback has replaced that.

    Raises:
        RegistryError: there is nothing to return to, or that has lost its files.
    """
    mlflow = tracking.client(root)
    with registry_lock(dataset, root):
        _finish_moves(mlflow, dataset)
        champion, previous = version_of(mlflow, dataset, "champion"), _earlier_champion(mlflow, dataset, to)
        if previous is None:
            raise RegistryError(f"{model_name(dataset)} has no previous champion to roll back to")
        if champion is not None and champion.version == previous.version:
            raise RegistryError(f"{champion.name} version {champion.version} is the champion already")
        files.check_files(mlflow, previous, "previous champion", thorough=True)
        record = _record(dataset, "rollback", previous, champion, True, [])
        _move(mlflow, dataset, previous, record, _write(mlflow, previous, record))
    return record


def _earlier_champion(mlflow: "MlflowClient", dataset: str, to: int | None) -> Any | None:
    """The version that a rollback returns to, None where there is no previous one.

    Raises:
        RegistryError: the one that is asked for has never been champion, or a rollback has replaced the previous one.
    """
    previous, name = version_of(mlflow, dataset, "previous"), model_name(dataset)
    known = versions(mlflow, name)
    if to is None:
        if previous is not None and previous.tags.get(ROLLED_BACK) == "true":
            raise RegistryError(
                f"{name} version {previous.version}, the champion before, was itself replaced by a rollback; name the "
                f"version to return to: mmesid rollback {dataset} --to N (`mmesid history {dataset}` lists them)"
            )
        return previous
    asked = next((version for version in known if int(version.version) == to), None)
    if asked is None or str(to) not in been_champion(mlflow, dataset, known):
        lacks = "has never been champion" if asked else "does not exist"
        raise RegistryError(f"{name} version {to} {lacks}; `mmesid history {dataset}` lists those that have been")
    return asked


def decisions(dataset: str, root: Path = Path()) -> list[Record]:
    """Every decision on a dataset's champion, oldest first."""
    mlflow = tracking.client(root)
    records: list[Record] = []
    for version in versions(mlflow, model_name(dataset)):
        records += records_of(mlflow, version).values()
    return sorted(records, key=lambda record: record.decided)


def history(dataset: str, root: Path = Path()) -> str:
    """Every decision for people, and the versions whose decision was made but whose record is lost."""
    mlflow = tracking.client(root)
    told = [describe(record) for record in decisions(dataset, root)]
    for version in versions(mlflow, model_name(dataset)):
        outcome = version.tags.get(OUTCOME, "none")
        if outcome != "none" and not records_of(mlflow, version):
            told.append(f"**{dataset}: version {version.version}, {outcome}**: the record of this decision is lost")
    return "\n\n".join(told) or f"no decision on {dataset} yet"


def reconcile(dataset: str, root: Path = Path()) -> None:
    """Complete a move of aliases that a crash has interrupted."""
    with registry_lock(dataset, root):
        _finish_moves(tracking.client(root), dataset)


def _check_trained_last(challenger: Any, config: Config, root: Path) -> None:
    """The ranks on disk are of the model on disk: no other model is judged by them."""
    trained = serving.bundle_digest(serving.collect(Store(config.dataset, root), config))
    if challenger.tags.get(DIGEST) != trained:
        raise RegistryError(
            f"{challenger.name} version {challenger.version} is the challenger, and the pipeline has trained another "
            f"model since: `mmesid register {config.dataset}` makes that one the challenger"
        )


def _stand_in(mlflow: "MlflowClient", champion: Any | None, challenger: Any) -> Any | None:
    """The version that ranks as the champion does: itself, or the challenger where that is the same model, whole.

    Raises:
        RegistryError: the champion has lost its files, so that no other model can be held against it.
    """
    if champion is None or not (what := files.lost(mlflow, champion, thorough=True)):
        return champion
    if champion.tags.get(DIGEST) == challenger.tags.get(DIGEST):
        return challenger
    raise RegistryError(
        f"{files.explain(champion, what, 'champion')}. Nothing can be judged against it until then; where nothing "
        "restores it, delete its alias `champion` in MLflow (`make ui`), and the gate asks for what a first one must be"
    )


def _basis(config: Config, root: Path, challenger: Any, champion: Any | None) -> str:
    """A digest of all that a decision is based on: equal digests, equal decisions, but for volatile clauses."""
    before = None if champion is None else str(champion.version)
    facts = (str(challenger.version), before, challenger.tags.get(ROLLED_BACK), evidence_digest(config, root))
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _not_rolled_back(challenger: Any) -> Clause:
    refused = challenger.tags.get(ROLLED_BACK) == "true"
    detail = "a rollback replaced this version" if refused else "no rollback replaced this version"
    return Clause("not rolled back", not refused, float(refused), 0, detail)


def _record(dataset: str, kind: str, version: Any, champion: Any | None, passed: bool, clauses: list[Clause]) -> Record:
    before = None if champion is None else str(champion.version)
    return Record(dataset, kind, str(version.version), before, passed, moment(), clauses)


def _write(mlflow: "MlflowClient", version: Any, record: Record) -> str:
    """First the tag that names the record, then the record itself: once that exists, the move is due. Returns its
    path."""
    numbers = [int(Path(path).name.partition("-")[0]) for path in paths_of(mlflow, version)]
    path = f"decisions/{max(numbers, default=0) + 1:03d}-{record.kind}.json"
    if record.passed:
        mlflow.set_model_version_tag(version.name, version.version, MOVE, path)
    mlflow.log_text(version.run_id, to_json(record), path)
    if not record.passed:
        mlflow.set_model_version_tag(version.name, version.version, OUTCOME, f"{record.kind} failed")
    return path


def _move(mlflow: "MlflowClient", dataset: str, version: Any, record: Record, path: str) -> None:
    """Carry out a decision that was just written.

    Raises:
        RegistryError: somebody else moves the aliases of this registry at the same time.
    """
    _finish_moves(mlflow, dataset)
    if not record.passed or _is_champion(mlflow, dataset, version):
        return
    mlflow.set_model_version_tag(version.name, version.version, MOVE, path)  # dropped, as if its writer had been killed
    _finish_moves(mlflow, dataset)
    if not _is_champion(mlflow, dataset, version):
        raise RegistryError(f"{version.name}: another checkout moves its aliases as well; run the command again")


def _is_champion(mlflow: "MlflowClient", dataset: str, version: Any) -> bool:
    champion = version_of(mlflow, dataset, "champion")
    return champion is not None and champion.version == version.version


def _finish_moves(mlflow: "MlflowClient", dataset: str) -> None:
    """Carry out the move that is due: what a rollback refuses, then `previous`, then `champion`. Doing it twice changes
    nothing, and a former champion that somebody has deleted since is left out.

    Where the record is missing or incomplete, its writer was killed or the record lost: nothing moves. Nor does it by a
    record of another version, or of a decision that was not passed.
    """
    known = versions(mlflow, model_name(dataset))
    for version in known:
        path = version.tags.get(MOVE)
        if not path or path in (DONE, DROPPED):
            continue
        record = records_of(mlflow, version).get(path)
        if record and record.passed and record.version == str(version.version):
            before = next((each for each in known if str(each.version) == record.champion), None)
            if record.kind == "rollback":
                _refuse(mlflow, before, version, known)
            if before is not None:
                mlflow.set_registered_model_alias(version.name, "previous", before.version)
            mlflow.set_registered_model_alias(version.name, "champion", version.version)
            mlflow.set_model_version_tag(version.name, version.version, OUTCOME, f"{record.kind} passed")
        mlflow.set_model_version_tag(version.name, version.version, MOVE, DONE if record else DROPPED)


def _refuse(mlflow: "MlflowClient", replaced: Any | None, version: Any, known: list[Any]) -> None:
    """The gate refuses the model that a rollback has replaced, each time that it was registered, and not `version`."""
    digest = None if replaced is None else replaced.tags.get(DIGEST)
    for each in known:
        if each is replaced or (digest and each.tags.get(DIGEST) == digest):
            mlflow.set_model_version_tag(each.name, each.version, ROLLED_BACK, "true")
    mlflow.set_model_version_tag(version.name, version.version, ROLLED_BACK, "false")
    for told, verdict in ((digest, "true"), (version.tags.get(DIGEST), "false")):  # outlives the versions
        if told:
            mlflow.set_registered_model_tag(version.name, verdict_tag(told), verdict)


def _last_record(mlflow: "MlflowClient", dataset: str, version: Any) -> Record:
    """Of the champion: the decision that made it so, or that there is none, since a person moved the alias."""
    told = [record for each in versions(mlflow, version.name) for record in records_of(mlflow, each).values()]
    last = max((record for record in told if record.passed), key=lambda record: record.decided, default=None)
    if last is not None and last.version == str(version.version):
        return last
    is_lost = version.tags.get(OUTCOME, "").endswith(" passed") and not records_of(mlflow, version)
    detail = "the record of the decision that made it champion is lost" if is_lost else "no decision made it champion"
    clause = Clause("champion already", True, 1, 1, detail)
    return _record(dataset, "promotion" if is_lost else BY_HAND, version, version, True, [clause])
