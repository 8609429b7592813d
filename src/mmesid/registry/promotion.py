"""From challenger to champion and back. A decision is written before the aliases move, and a crash in between is
made good by the next call: what was decided is on the version's tags.
"""

import hashlib
import inspect
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmesid import config as configuration
from mmesid import tracking
from mmesid.artifacts import Prepared, Store, load_json, load_prepared, load_ranks
from mmesid.config import Config
from mmesid.errors import RegistryError
from mmesid.evaluation.ranking import checkpoint_users
from mmesid.evaluation.slices import slices
from mmesid.registry.gate import BASELINES, Clause, Evidence, Limits, decide
from mmesid.registry.records import Record, from_json, to_json
from mmesid.registry.versions import load_version, model_name, registry_lock, version_of, versions

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

MOVE = "mmesid.move"  # tag of a version that shall be champion: pending, then done
REPLACES = "mmesid.replaces"  # tag of that version: the champion before it, or empty
JUDGED = "mmesid.judged"  # tag of a challenger that failed: digest of what it was judged on
ROLLED_BACK = "mmesid.rolled_back"  # tag of a version that a rollback took from the champion's place


def promote(dataset: str, root: Path = Path(), limits: Limits | None = None) -> Record:
    """Make the challenger the champion, if the gate holds.

    Promoting the champion itself, or a challenger that has failed on the very same evidence, decides nothing new.

    Args:
        dataset: its `evaluate` stage is done and its model registered.
        root: the project's folder.
        limits: of the gate.

    Raises:
        RegistryError: there is no challenger.
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
    found = [record for version in versions(mlflow, model_name(dataset)) for record in _records(mlflow, version)]
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
    moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    before = None if champion is None else str(champion.version)
    return Record(dataset, kind, str(version.version), before, passed, moment, clauses)


def _write(mlflow: "MlflowClient", version: Any, record: Record) -> None:
    """The record first, then the tags that a person sees, and last the one that makes the move due."""
    number = len(_records(mlflow, version)) + 1
    mlflow.log_text(version.run_id, to_json(record), f"decisions/{number:03d}-{record.kind}.json")
    tags = {
        "mmesid.decision": f"{record.kind} {'passed' if record.passed else 'failed'}",
        REPLACES: record.champion or "",
    }
    for name, value in tags.items():
        mlflow.set_model_version_tag(version.name, version.version, name, value)
    if record.passed:
        mlflow.set_model_version_tag(version.name, version.version, MOVE, "pending")


def _finish_moves(mlflow: "MlflowClient", dataset: str) -> None:
    """Carry out the move that is due: first `previous`, then `champion`. Doing it twice changes nothing."""
    for version in versions(mlflow, model_name(dataset)):
        if version.tags.get(MOVE) == "pending":
            if replaced := version.tags.get(REPLACES):
                mlflow.set_registered_model_alias(version.name, "previous", replaced)
            mlflow.set_registered_model_alias(version.name, "champion", version.version)
            mlflow.set_model_version_tag(version.name, version.version, MOVE, "done")


def _records(mlflow: "MlflowClient", version: Any) -> list[Record]:
    from mlflow.artifacts import load_text

    paths = sorted(file.path for file in mlflow.list_artifacts(version.run_id, "decisions"))
    base = mlflow.get_run(version.run_id).info.artifact_uri
    return [from_json(json.loads(load_text(f"{base}/{path}"))) for path in paths]


def _last_record(mlflow: "MlflowClient", dataset: str, champion: Any) -> Record:
    found = _records(mlflow, champion)
    return found[-1] if found else _record(dataset, "promotion", champion, champion, True, [])
