"""Whether a version's files are all there: a registry outlives them where somebody cleans up, moves or restores."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmesid.errors import RegistryError, faults
from mmesid.serving.bundle import bundle_digest

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

DIGEST = "mmesid.model"  # tag of a version: digest of its bundle; equal digests are equal models
TAG = "mmesid.files"  # tag of a version: how many files and bytes its model had when it was registered
TAGGED = re.compile(r"(\d+) files, (\d+) bytes")  # anything else was written by hand, and tells nothing
BUNDLE = "artifacts/bundle"  # of a model's files, where what was sent lies
NEEDED = ("MLmodel", f"{BUNDLE}/serving.json")  # of a version without the tag
CARD = "README.md"  # in the bundle, and no part of the model
MADE_LATER = "__pycache__"  # beside the model's code, by whoever loads it


def measure(mlflow: "MlflowClient", model_id: str, sent: Path) -> str:
    """How many files and bytes a logged model has now, as the tag says it.

    Args:
        mlflow: a client of the registry.
        model_id: of the logged model.
        sent: the bundle that it was logged with.

    Raises:
        RegistryError: not all of that is there: it was removed, or cut short, before it became a version.
    """
    place = mlflow.get_logged_model(model_id).artifact_location
    sizes, files = _sizes(place), [path for path in sent.rglob("*") if path.is_file()]
    names = {f"{BUNDLE}/{path.relative_to(sent).as_posix()}": path.stat().st_size for path in files}
    if missing := [name for name, size in names.items() if sizes.get(name, -1) < size]:
        raise RegistryError(
            f"{len(missing)} of {len(names)} files did not arrive whole in {place} ({missing[0]} is the first): no "
            "version was made of them; see who removes files there, then register again"
        )
    return f"{len(sizes)} files, {sum(sizes.values())} bytes"


def lost(mlflow: "MlflowClient", version: Any, thorough: bool = False) -> str:
    """What a version's files lack, empty where they are all there.

    Args:
        mlflow: a client of the registry.
        version: of a model.
        thorough: whether files on this machine are read as well, which names damage that left their sizes alone.

    Raises:
        RegistryError: they cannot be read, which is no loss.
    """
    from mlflow.exceptions import MlflowException

    if not version.source.startswith("models:/"):  # of an older MLflow, whose models lie with their runs
        return ""
    try:
        mlflow.get_run(version.run_id)  # holds the records of decisions; `mlflow gc` removes it for good
        place = place_of(mlflow, version)
        sizes = _sizes(place)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # a server that fails has lost nothing
            raise
        return f"MLflow does not find its model or its run ({error})".replace("\n", " ")
    except (FileNotFoundError, NotADirectoryError) as error:
        return f"MLflow does not find its model or its run ({error})"
    except OSError as error:
        raise RegistryError(f"{version.name} version {version.version}: {faults.sentence(error)}") from error
    expected = TAGGED.fullmatch(version.tags.get(TAG, ""))
    if expected is None:
        missing = [name for name in NEEDED if name not in sizes]
        return f"{place} lacks {', '.join(missing)}" if missing else ""
    files, size = map(int, expected.groups())
    if len(sizes) < files:
        return f"{place} holds {len(sizes)} of {files} files"
    if sum(sizes.values()) < size:
        return f"files in {place} are cut short"
    here = local(place) if thorough else None
    return f"files in {place} are damaged" if here and is_damaged(version, here / BUNDLE) else ""


def local(place: str) -> Path | None:
    """The folder that a place of artifacts is, where it lies on this machine."""
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    return Path(local_file_uri_to_path(place)) if is_local_uri(place) else None


def is_damaged(version: Any, bundle: Path) -> bool:
    """Whether a version's bundle holds something else than was registered.

    Args:
        version: of a model; one without a digest is believed.
        bundle: the folder, wherever it was fetched to.
    """
    told: str | None = version.tags.get(DIGEST)
    found = {path.relative_to(bundle): path for path in bundle.rglob("*") if path.is_file()}
    found.pop(Path(CARD), None)
    return bool(told) and bundle_digest(found) != told


def check_files(mlflow: "MlflowClient", version: Any, role: str = "", thorough: bool = False) -> None:
    """Raises RegistryError where a version has lost files, and says what restores it.

    Args:
        mlflow: a client of the registry.
        version: of a model.
        role: its alias, like champion.
        thorough: as in `lost`.
    """
    if what := lost(mlflow, version, thorough):
        raise RegistryError(explain(version, what, role))


def explain(version: Any, what: str, role: str = "") -> str:
    """The sentence for a version whose files are gone or damaged."""
    dataset = dataset_of(version)
    anew = f"`mmesid register {dataset}` and `mmesid promote {dataset}` register anew what data/{dataset} holds"
    back = f"; `mmesid rollback {dataset}` returns to the champion before" if role == "champion" else ""
    return f"{_named(version, role)} has lost its files: {what}. {anew}{back}; or put the files back from a backup"


def explain_unread(version: Any, what: str, role: str = "") -> str:
    """The sentence for a version whose files are there, and which this code or environment cannot read."""
    said = f"{_named(version, role)} cannot be loaded here ({what}): use the code and packages that made it"
    if role != "champion":
        return said
    return (
        f"{said}, or return to the champion before (`mmesid rollback {dataset_of(version)}`); where neither helps, "
        "delete its alias `champion` in MLflow (`make ui`), and the gate asks for what a first one must be"
    )


def _named(version: Any, role: str) -> str:
    return f"{version.name} version {version.version}" + (f", the {role}," if role else "")


def place_of(mlflow: "MlflowClient", version: Any) -> str:
    """Where the files of a version's model lie."""
    if not version.source.startswith("models:/"):
        return str(version.source)
    return str(mlflow.get_logged_model(_model_id(version)).artifact_location)


def dataset_of(version: Any) -> str:
    """The dataset whose model a version is."""
    return str(version.tags.get("mmesid.dataset") or version.name.removeprefix("mme-sid-"))


def _model_id(version: Any) -> str:
    return str(getattr(version, "model_id", None) or version.source.rpartition("/")[2])


def _sizes(place: str) -> dict[str, int]:
    """Every file below a place of artifacts, by its path from there."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    if folder := local(place):
        with suppress(FileNotFoundError, NotADirectoryError):
            folder.stat()  # MLflow takes a folder that it may not enter for an empty one
    return dict(_walk(get_artifact_repository(place), None))


def _walk(repository: Any, folder: str | None) -> Iterator[tuple[str, int]]:
    for entry in repository.list_artifacts(folder):
        if MADE_LATER in entry.path:
            continue
        if entry.is_dir:
            yield from _walk(repository, entry.path)
        else:
            yield entry.path, int(entry.file_size or 0)
