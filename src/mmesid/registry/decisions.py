"""The decisions that a registry keeps: records beside the models that they are about."""

import contextlib
import json
from typing import TYPE_CHECKING, Any

from mmesid.registry.records import Record, from_json
from mmesid.registry.versions import version_of

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

OUTCOME = "mmesid.decision"  # tag of a version, for people: how the last decision about it ended


def paths_of(mlflow: "MlflowClient", version: Any) -> list[str]:
    """Of the records of decisions; none where the version's run was deleted for good (`mlflow gc`)."""
    from mlflow.exceptions import MlflowException

    try:
        mlflow.get_run(version.run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return []
        raise
    return sorted(file.path for file in mlflow.list_artifacts(version.run_id, "decisions"))


def records_of(mlflow: "MlflowClient", version: Any) -> dict[str, Record]:
    """The decisions about a version by the path of their artifact, oldest first; damaged ones are left out."""
    from mlflow.artifacts import load_text

    paths = paths_of(mlflow, version)
    if not paths:
        return {}
    base = mlflow.get_run(version.run_id).info.artifact_uri
    records = {}
    for path in paths:
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):  # cut short, or edited by hand
            records[path] = from_json(json.loads(load_text(f"{base}/{path}")))
    return records


def been_champion(mlflow: "MlflowClient", dataset: str, known: list[Any]) -> set[str]:
    """Numbers of the versions that are or have been champion, by hand as well: decisions name whom they found so."""
    told = [record for version in known for record in records_of(mlflow, version).values()]
    numbers = {record.version for record in told if record.passed} | {record.champion for record in told}
    numbers |= {str(version.version) for version in known if version.tags.get(OUTCOME, "").endswith(" passed")}
    champion = version_of(mlflow, dataset, "champion")
    return {number for number in numbers if number} | ({str(champion.version)} if champion is not None else set())
