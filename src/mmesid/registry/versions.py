"""Versions and aliases of a dataset's registered model, and the way from a version back to a service."""

import contextlib
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmesid import config as configuration
from mmesid import serving, tracking
from mmesid.artifacts.evaluate import load_metrics
from mmesid.artifacts.store import Store
from mmesid.config import Config
from mmesid.errors import RegistryError, faults, first_line, without_secret
from mmesid.host import locked, scratch
from mmesid.models import MAIN_MODEL, TESTED_METRICS
from mmesid.registry import files
from mmesid.registry.card import write_card
from mmesid.registry.files import DIGEST
from mmesid.serving.bundle import CODE, PYFUNC, Contents

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ROLLED_BACK = "mmesid.rolled_back"  # tag of a version that a rollback replaced as champion
REQUIRED = (
    "mlflow",
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "pyyaml",
)


def model_name(dataset: str) -> str:
    """Name of the dataset's registered model."""
    return f"mme-sid-{dataset}"


def register(dataset: str, root: Path = Path()) -> str:
    """Register what the pipeline has trained as the challenger. The same model is registered once, unless its files are
    gone: then it is registered anew.

    Args:
        dataset: its stages up to `evaluate` are done.
        root: the project's folder.

    Returns:
        The version's number.

    Raises:
        ArtifactError: a stage's output is missing.
    """
    config, store, name = configuration.load_run(dataset, root), Store(dataset, root), model_name(dataset)
    metrics = load_metrics(store)
    with registry_lock(dataset, root):
        contents = serving.collect(store, config)
        digest = serving.bundle_digest(contents)
        mlflow = tracking.client(root)
        equal = [version for version in versions(mlflow, name) if version.tags.get(DIGEST) == digest]
        whole = [str(version.version) for version in equal if not files.lost(mlflow, version, thorough=True)]
        verdict = _verdict_on(mlflow, name, digest, equal)
        kept = {DIGEST: digest, **({ROLLED_BACK: verdict} if verdict else {})}  # what was refused stays refused
        version = whole[-1] if whole else _create(mlflow, config, metrics, contents, kept, root)
        mlflow.set_registered_model_alias(name, "challenger", version)
    return version


def _verdict_on(mlflow: "MlflowClient", name: str, digest: str, equal: Sequence[Any]) -> str | None:
    """Whether a rollback has replaced a model, `true` or `false`, also where none of its versions is left.

    Args:
        mlflow: a client of the registry.
        name: of the registered model.
        digest: of the model.
        equal: the versions that it has, oldest first.
    """
    told = [version.tags[ROLLED_BACK] for version in equal if version.tags.get(ROLLED_BACK)]
    for model in mlflow.search_registered_models(f"name = '{name}'"):
        told += [value for tag, value in model.tags.items() if tag == verdict_tag(digest)]
    return str(told[-1]) if told else None


def verdict_tag(digest: str) -> str:
    """The tag of a registered model that keeps what rollbacks say of one of its models."""
    return f"{ROLLED_BACK}.{digest[:32]}"


def version_of(mlflow: "MlflowClient", dataset: str, alias: str) -> Any | None:
    """The model version behind an alias, None where the alias or the model does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        return mlflow.get_model_version_by_alias(model_name(dataset), alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def versions(mlflow: "MlflowClient", name: str) -> list[Any]:
    """Every version of a registered model, oldest first."""
    return sorted(mlflow.search_model_versions(f"name = '{name}'"), key=lambda version: int(version.version))


def champion_of(dataset: str, root: Path = Path()) -> Any:
    """The model version that answers at this moment.

    Raises:
        RegistryError: the dataset has no champion.
    """
    champion = version_of(tracking.client(root), dataset, "champion")
    if champion is None:
        raise RegistryError(
            f"{model_name(dataset)} has no champion in {without_secret(tracking.tracking_uri(root))}; "
            f"`mmesid retrain --datasets {dataset}` trains, registers and promotes one, where params.yaml lists it"
        )
    return champion


def load_champion(dataset: str, root: Path = Path(), device: str = "cpu") -> "serving.Service":
    """The service that answers for a dataset.

    Raises:
        RegistryError: the dataset has no champion.
    """
    return load_version(champion_of(dataset, root), device)


def load_version(version: Any, device: str = "cpu") -> "serving.Service":
    """The service of a model version, from its own copy of everything.

    Raises:
        RegistryError: its files are gone, or this code cannot read them.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.tracking import MlflowClient

    uri = f"models:/{version.name}/{version.version}"
    role = "champion" if "champion" in (getattr(version, "aliases", None) or ()) else ""
    files.check_files(MlflowClient(), version, role)
    try:
        with scratch() as aside:  # for what lies elsewhere; MLflow would leave its copy behind
            here = files.local(files.place_of(MlflowClient(), version))
            folder = Path(download_artifacts(artifact_uri=uri, dst_path=None if here else str(aside)))
            if files.is_damaged(version, folder / files.BUNDLE):
                raise RegistryError(files.explain(version, f"files in {here or uri} are damaged", role))
            return serving.load(folder / files.BUNDLE, device)
    except RegistryError:
        raise
    except Exception as error:  # of MLflow, torch, transformers, safetensors: no common base
        if faults.is_of_disk(error):
            raise RegistryError(faults.sentence(error)) from error
        line = first_line(error).partition(": delete it")[0]  # a remedy for what a stage has written
        raise RegistryError(files.explain_unread(version, f"{type(error).__name__}: {line}", role)) from error


def registry_lock(dataset: str, root: Path) -> contextlib.AbstractContextManager[None]:
    """One change of a dataset's registry at a time: MLflow cannot move two aliases at once.

    Raises:
        RegistryError: another process keeps it, as one that is stopped.
    """
    return locked(root / "mlruns" / f".registry.{dataset}.lock", RegistryError)


def drop_gathered(dataset: str, root: Path) -> Path:
    """Remove the folder in which a registration gathers the model's files; one that was killed leaves it behind."""
    folder = root.absolute() / "mlruns" / f".register.{dataset}"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


@contextlib.contextmanager
def _gathered(dataset: str, contents: Contents, card: str, root: Path) -> Iterator[Path]:
    """The model's files and its card in one folder, until they are uploaded."""
    bundle = drop_gathered(dataset, root) / "bundle"
    try:
        serving.write_bundle(contents, bundle)
        (bundle / files.CARD).write_text(card, encoding="utf-8")
        yield bundle
    finally:
        drop_gathered(dataset, root)


def _create(
    mlflow: "MlflowClient",
    config: Config,
    metrics: dict[str, Any],
    contents: Contents,
    tags: Mapping[str, str],
    root: Path,
) -> str:
    """Upload the model and make a version of it, which has these tags from its first moment. Returns its number."""
    name, origin = model_name(config.dataset), tracking.provenance(root)
    card = write_card(name, config, metrics, origin)
    with _gathered(config.dataset, contents, card, root) as bundle:
        run_id, model_id = _log_model(mlflow, config, metrics, bundle, origin, root)
        size = files.measure(mlflow, model_id, bundle)
    if not mlflow.search_registered_models(f"name = '{name}'"):
        mlflow.create_registered_model(name, description=f"Sequential recommender of the dataset {config.dataset}")
    tags = {
        **origin,
        **tags,
        files.TAG: size,
        "mmesid.dataset": config.dataset,
        "mmesid.decision": "none",
    }
    tags |= {f"test.{metric}": f"{metrics['test'][MAIN_MODEL][metric]:.4f}" for metric in TESTED_METRICS}
    source = f"models:/{model_id}"
    version = mlflow.create_model_version(name, source, run_id, tags=tags, description=card, model_id=model_id)
    return str(version.version)


def _log_model(
    mlflow: "MlflowClient",
    config: Config,
    metrics: dict[str, Any],
    bundle: Path,
    origin: dict[str, str],
    root: Path,
) -> tuple[str, str]:
    """A run that holds the model and its metrics. Returns the ids of the run and of the logged model."""
    import mlflow as fluent

    experiment = tracking.experiment_id(mlflow, config.dataset, root)
    tags = {**origin, "mmesid.dataset": config.dataset, "mmesid.stage": "register"}
    if execution := tracking.named_execution():
        tags["mmesid.execution"] = execution
        if parents := tracking.runs_for(config.dataset, root, execution=execution, stage="pipeline"):
            tags["mlflow.parentRunId"] = parents[0].info.run_id
    with fluent.start_run(experiment_id=experiment, run_name="register", tags=tags) as run:
        fluent.log_metrics(
            {key: float(value) for key, value in configuration.flatten(metrics) if isinstance(value, int | float)}
        )
        fluent.log_artifact(str(bundle / files.CARD))
        return run.info.run_id, _log_pyfunc(bundle)


def _log_pyfunc(bundle: Path) -> str:
    """The model itself, in the active run. Returns its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # mlflow warns about its own type hints
        from mlflow import pyfunc

        signature, example = _interface(bundle)
        logged = pyfunc.log_model(
            name="model",
            python_model=str(PYFUNC),
            artifacts={"bundle": str(bundle)},
            code_paths=[str(CODE)],
            signature=signature,
            input_example=example,
            pip_requirements=requirements(),
        )
    return str(logged.model_id)


def _interface(bundle: Path) -> tuple[Any, Any]:
    """Signature and example: a history is a list of item ids, or one text with commas between them."""
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema

    history = pd.read_parquet(bundle / "items.parquet")["item_id"].head(3).to_list()
    outputs = [
        ColSpec(Array(DataType.string), "item_ids"),
        ColSpec(Array(DataType.string), "titles"),
        ColSpec(Array(DataType.double), "scores"),
        ColSpec(DataType.string, "note"),
    ]
    signature = ModelSignature(
        inputs=Schema([ColSpec(AnyType(), "history")]),
        outputs=Schema(outputs),
        params=ParamSchema([ParamSpec("k", DataType.long, 10)]),
    )
    return signature, pd.DataFrame({"history": [history]})


def requirements() -> list[str]:
    """The packages that the model runs with, pinned, without a build's local suffix (`+cpu`)."""
    return [f"{package}=={metadata.version(package).partition('+')[0]}" for package in REQUIRED]
