"""From challenger to champion and back. A decision is written before the aliases move, and a crash in between is
made good by the next call: a tag of the version names the record that makes the move due, and the record says which.
"""

import contextlib
import hashlib
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmesid import config as configuration
from mmesid import serving, tracking
from mmesid.artifacts.evaluate import load_ranks
from mmesid.artifacts.files import load_json
from mmesid.artifacts.prepare import load_prepared
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Prepared
from mmesid.config import Config
from mmesid.errors import RegistryError
from mmesid.evaluation.slices import slices
from mmesid.registry.gate import BASELINES, Clause, Evidence, Limits, decide
from mmesid.registry.records import Record, from_json, moment, to_json
from mmesid.registry.versions import DIGEST, load_version, model_name, registry_lock, version_of, versions

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

MOVE = "mmesid.move"  # tag of a version that shall be champion: the record that says so, then DONE or DROPPED
DONE, DROPPED = "done", "dropped"
OUTCOME = "mmesid.decision"  # tag of a version, for people: how the last decision about it ended
JUDGED = "mmesid.judged"  # tag of a challenger that failed: digest of what it was judged on
ROLLED_BACK = "mmesid.rolled_back"  # tag of a version that a rollback took from the champion's place


def promote(dataset: str, root: Path = Path(), limits: Limits | None = None) -> Record:
    """Make the challenger the champion, if the gate holds.

    Promoting the champion itself, or a challenger that has failed on the very same evidence, decides nothing new: the
    record that there is comes back, older than the call.

    Args:
        dataset: its `evaluate` stage is done and its model registered.
        root: the project's folder.
        limits: of the gate.

    Raises:
        RegistryError: there is no challenger, or the pipeline has trained another model since it was registered.
        ArtifactError: an output of the pipeline is missing.
    """
    mlflow = tracking.client(root)
    with registry_lock(dataset, root):
        _finish_moves(mlflow, dataset)
        challenger, champion = (version_of(mlflow, dataset, alias) for alias in ("challenger", "champion"))
        if challenger is None:
            raise RegistryError(f"{model_name(dataset)} has no challenger; register a model first: mmesid register")
        if champion is not None and champion.version == challenger.version:
            return _last_record(mlflow, dataset, challenger)
        _check_is_the_trained_one(dataset, root, challenger)
        judged_on = _evidence_digest(dataset, root, challenger, champion, limits)
        if challenger.tags.get(JUDGED) == judged_on:
            return _last_record(mlflow, dataset, challenger)
        evidence = gather(dataset, root, champion)
        decision = decide(evidence, limits)
        clauses = [*decision.clauses, _not_rolled_back(challenger)]
        passed = all(clause.passed for clause in clauses)
        record = _record(dataset, "promotion", challenger, champion, passed, clauses)
        _write(mlflow, challenger, record)
        if not passed:
            mlflow.set_model_version_tag(challenger.name, challenger.version, JUDGED, judged_on)
        _finish_moves(mlflow, dataset)
    return record


def rollback(dataset: str, root: Path = Path()) -> Record:
    """Make the previous champion the champion again; the gate refuses the version it replaces from then on.

    Raises:
        RegistryError: there is no champion, or none before it.
    """
    mlflow = tracking.client(root)
    with registry_lock(dataset, root):
        _finish_moves(mlflow, dataset)
        champion, previous = (version_of(mlflow, dataset, alias) for alias in ("champion", "previous"))
        if champion is None or previous is None or champion.version == previous.version:
            raise RegistryError(f"{model_name(dataset)} has no champion before the present one; nothing to go back to")
        for version, refused in ((champion, "true"), (previous, "false")):
            mlflow.set_model_version_tag(version.name, version.version, ROLLED_BACK, refused)
        record = _record(dataset, "rollback", previous, champion, True, [])
        _write(mlflow, previous, record)
        _finish_moves(mlflow, dataset)
    return record


def history(dataset: str, root: Path = Path()) -> list[Record]:
    """Every decision on a dataset's champion, oldest first."""
    mlflow = tracking.client(root)
    every = versions(mlflow, model_name(dataset))
    found = [record for version in every for record in _records(mlflow, version).values()]
    return sorted(found, key=lambda record: record.decided)


def reconcile(dataset: str, root: Path = Path()) -> None:
    """Complete a move of aliases that a crash has interrupted."""
    with registry_lock(dataset, root):
        _finish_moves(tracking.client(root), dataset)


def gather(dataset: str, root: Path, champion: Any | None) -> Evidence:
    """What the gate judges: ranks of its half of the validation users, the champion's own on the current data.

    Args:
        dataset: its `evaluate` stage is done.
        root: the project's folder.
        champion: a model version, None where there is none.
    """
    from mmesid.evaluation.ranking import checkpoint_users  # imports torch, and most nights nothing is to be judged

    config, store = configuration.load(dataset, root), Store(dataset, root)
    prepared = load_prepared(store)
    gate = ~checkpoint_users(prepared.sequences.user_ids)  # (B,)
    ranks = load_ranks(store, "evaluate")
    ranks = ranks[ranks["split"] == "valid"].sort_values("user")
    of = {name: ranks.loc[ranks["model"] == name, "rank"].to_numpy(np.int64) for name in ("mme_sid", *BASELINES)}
    return Evidence(
        challenger=of["mme_sid"][gate],
        baselines={name: of[name][gate] for name in BASELINES if len(of[name])},
        champion=None if champion is None else _champion_ranks(champion, prepared, config, gate),
        slices=_slices(of, prepared, config, gate),
        tokenizer=load_json(root / "data" / dataset / "evaluate" / "metrics.json")["tokenizer"],
        n_items=prepared.sequences.n_items,
        codes=config.tokenize.codes,
    )


def _check_is_the_trained_one(dataset: str, root: Path, challenger: Any) -> None:
    """The ranks on disk are those of the model on disk: no other may rise or fall by them."""
    trained = serving.bundle_digest(Store(dataset, root), configuration.load(dataset, root))
    if challenger.tags.get(DIGEST) != trained:
        raise RegistryError(
            f"{challenger.name} version {challenger.version} is the challenger, and the pipeline has trained another "
            f"model since: `mmesid register {dataset}` makes that one the challenger"
        )


def _evidence_digest(dataset: str, root: Path, challenger: Any, champion: Any | None, limits: Limits | None) -> str:
    """Of all that `gather` and `decide` look at, the gate's own code included: equal digests are equal decisions."""
    digest = hashlib.sha256(Path(inspect.getfile(decide)).read_bytes())
    digest.update(configuration.load(dataset, root).model_dump_json().encode())
    before = None if champion is None else str(champion.version)
    facts = (str(challenger.version), before, challenger.tags.get(ROLLED_BACK), limits or Limits())
    digest.update(repr(facts).encode())
    folders = (root / "data" / dataset / stage for stage in ("prepare", "evaluate"))
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _champion_ranks(champion: Any, prepared: Prepared, config: Config, gate: NDArray[np.bool_]) -> NDArray[np.int64]:
    sequences = prepared.sequences
    histories = [history for history, chosen in zip(sequences.history("valid"), gate, strict=True) if chosen]
    item_ids = prepared.items["item_id"].astype(str).to_list()
    service = load_version(champion)
    return service.rank(item_ids, histories, sequences.target("valid")[gate], config.evaluate.exclude_history)


def _slices(
    ranks: dict[str, NDArray[np.int64]], prepared: Prepared, config: Config, gate: NDArray[np.bool_]
) -> dict[str, list[dict[str, Any]]]:
    sequences = prepared.sequences
    of = {name: found[gate] for name, found in ranks.items() if len(found)}
    frequency = sequences.train_frequency()[sequences.target("valid")][gate]
    length = np.array([len(history) for history in sequences.history("valid")])[gate]
    return {
        "item_frequency": slices(of, frequency, config.evaluate.frequency_buckets),
        "history_length": slices(of, length, config.evaluate.length_buckets),
    }


def _not_rolled_back(challenger: Any) -> Clause:
    refused = challenger.tags.get(ROLLED_BACK) == "true"
    detail = "a rollback replaced this version" if refused else "no rollback replaced this version"
    return Clause("not rolled back", not refused, float(refused), 0, detail)


def _record(dataset: str, kind: str, version: Any, champion: Any | None, passed: bool, clauses: list[Clause]) -> Record:
    before = None if champion is None else str(champion.version)
    return Record(dataset, kind, str(version.version), before, passed, moment(), clauses)


def _write(mlflow: "MlflowClient", version: Any, record: Record) -> None:
    """First the tag that names the record, then the record itself: the move is due from the moment it is there."""
    path = f"decisions/{len(_paths(mlflow, version)) + 1:03d}-{record.kind}.json"
    if record.passed:
        mlflow.set_model_version_tag(version.name, version.version, MOVE, path)
    mlflow.log_text(version.run_id, to_json(record), path)
    if not record.passed:
        mlflow.set_model_version_tag(version.name, version.version, OUTCOME, f"{record.kind} failed")


def _finish_moves(mlflow: "MlflowClient", dataset: str) -> None:
    """Carry out the move that is due: first `previous`, then `champion`. Doing it twice changes nothing.

    A record that is not there, or not whole, was killed with its writer: nothing had been decided.
    """
    for version in versions(mlflow, model_name(dataset)):
        path = version.tags.get(MOVE)
        if not path or path in (DONE, DROPPED):
            continue
        if record := _records(mlflow, version).get(path):
            if record.champion:
                mlflow.set_registered_model_alias(version.name, "previous", record.champion)
            mlflow.set_registered_model_alias(version.name, "champion", version.version)
            mlflow.set_model_version_tag(version.name, version.version, OUTCOME, f"{record.kind} passed")
        mlflow.set_model_version_tag(version.name, version.version, MOVE, DONE if record else DROPPED)


def _paths(mlflow: "MlflowClient", version: Any) -> list[str]:
    return sorted(file.path for file in mlflow.list_artifacts(version.run_id, "decisions"))


def _records(mlflow: "MlflowClient", version: Any) -> dict[str, Record]:
    """The decisions about a version by the path of their artifact, oldest first; what a kill cut short is none."""
    from mlflow.artifacts import load_text

    found = {}
    if paths := _paths(mlflow, version):
        base = mlflow.get_run(version.run_id).info.artifact_uri
        for path in paths:
            with contextlib.suppress(json.JSONDecodeError):
                found[path] = from_json(json.loads(load_text(f"{base}/{path}")))
    return found


def _last_record(mlflow: "MlflowClient", dataset: str, champion: Any) -> Record:
    found = list(_records(mlflow, champion).values())
    return found[-1] if found else _record(dataset, "promotion", champion, champion, True, [])
