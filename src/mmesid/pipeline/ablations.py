"""Ablations: named changes of a dataset's own parameters, from conf/ablations.yaml, and what identifies a run of one.

A run is an ablation with a seed. Its key is the digest of all that decides its result: parameters, code, source. What
carries the key of a run that is asked for need not be trained again.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mmesid import config
from mmesid.artifacts.values import CONTENT
from mmesid.config import Config
from mmesid.config.loading import parsed, read_sections
from mmesid.errors import ConfigError
from mmesid.models import MAIN_MODEL, MODELS, alone, with_role
from mmesid.pipeline import code, overrides
from mmesid.pipeline.overrides import Value

REFERENCE = "best"  # the dataset's own parameters
LAST = "evaluate"  # the stage that ends a run
KEYS = {"tells", "set", "row", "like", "needs"}
SMALL = 10_000_000  # bytes of a source that is told by its content, a larger one by names and sizes
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_UPSTREAM = re.compile(r"data/\$\{item\.dataset\}/(\w+)")


class Ablation(NamedTuple):
    """What is changed, and what for."""

    name: str
    tells: str  # one sentence
    overrides: dict[str, Value]  # SECTION.KEY -> value
    row: str  # of the tables that it is judged by
    needs: tuple[str, ...] = ()  # modalities of content without which it is another ablation


class Run(NamedTuple):
    """An ablation with a seed on one dataset."""

    ablation: Ablation
    dataset: str
    seed: int
    conf: str  # the text of conf/<dataset>.yaml that makes it
    settings: Config  # that result
    keys: dict[str, str]  # digest of all that decides the result of each stage, in their order

    @property
    def parameters(self) -> dict[str, Any]:
        """As they are kept."""
        return parameters(self.settings)

    @property
    def key(self) -> str:
        """Of the whole run."""
        return self.keys[LAST]

    @property
    def label(self) -> str:
        """`mse, seed 1`."""
        return f"{self.ablation.name}, seed {self.seed}"


def read(root: Path = Path()) -> dict[str, Ablation]:
    """Every ablation of conf/ablations.yaml by name, in the order of the file.

    Raises:
        ConfigError: the file is missing, names a key twice, or an entry is not as its head says.
    """
    path = root / "conf" / f"{config.ABLATIONS}.yaml"
    found: dict[str, Ablation] = {}
    for name, values in read_sections(path).items():
        found[str(name)] = _entry(str(name), values, found, path)
    reference = found.get(REFERENCE)
    if reference is None or reference.overrides or reference.needs or reference.row != MAIN_MODEL:
        raise ConfigError(
            f"{path} must hold `{REFERENCE}` with `set: {{}}`, without row and needs: all others are compared with it"
        )
    return found


def _entry(name: str, values: Any, before: Mapping[str, Ablation], path: Path) -> Ablation:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{path}: {name!r} must be a name of lower-case letters, digits and `_`, 64 at most")
    if not isinstance(values, dict) or not {"tells", "set"} <= set(values) <= KEYS:
        keys = ", ".join(sorted(map(str, values))) if isinstance(values, dict) else repr(values)
        may = "row, like and needs"
        raise ConfigError(f"{path}: {name} must have the keys tells and set, and may have {may}; it has {keys}")
    if not isinstance(values["set"], dict) or not isinstance(values["tells"], str):
        raise ConfigError(f"{path}: {name} must have a sentence as `tells` and keys with values as `set`")
    if wrong := [key for key in values["set"] if not isinstance(key, str)]:
        raise ConfigError(f"{path}: {name} has {wrong[0]!r} in `set`, which must be SECTION.KEY, like finetune.epochs")
    like = values.get("like", REFERENCE)
    if "like" in values and (not isinstance(like, str) or like not in before):
        raise ConfigError(f"{path}: {name} has `like: {like!r}`, which must be the name of an entry above it")
    shared = before[like] if "like" in values else Ablation("", "", {}, MAIN_MODEL)
    row = values.get("row", shared.row)
    rows = [model for model in MODELS if model not in with_role("bound")]  # whose ranks are kept
    if row not in rows:
        raise ConfigError(f"{path}: {name} has the row {row!r}, which is none of {', '.join(rows)}")
    needs = values.get("needs", list(shared.needs))
    if not isinstance(needs, list) or not all(need in CONTENT for need in needs):
        raise ConfigError(f"{path}: {name} needs {needs!r}; it must be a list of some of {', '.join(CONTENT)}")
    return Ablation(name, values["tells"], {**shared.overrides, **values["set"]}, row, tuple(needs))


def choose(known: Mapping[str, Ablation], only: Sequence[str]) -> list[Ablation]:
    """Those that are named, the one that all are compared with first; all without names.

    Raises:
        ConfigError: a name is not known.
    """
    if unknown := [name for name in only if name not in known]:
        raise ConfigError(f"no ablation {', '.join(unknown)} in conf/ablations.yaml; known: {', '.join(known)}")
    names = [REFERENCE, *(name for name in known if name != REFERENCE and (not only or name in only))]
    return [known[name] for name in names]


def codes(root: Path = Path()) -> dict[str, str]:
    """Digest of the code of each stage up to the last one that depends on the parameters' values, in their order.

    A stage that the last one needs not, as somebody's own may be, decides no result.
    """
    stages = read_sections(root / "dvc.yaml")["stages"]
    package, needed, waiting = root / "src" / "mmesid", set(), [LAST]
    while waiting:
        stage = waiting.pop()
        if stage not in needed:
            needed.add(stage)
            waiting += _above(stages[stage])
    return {stage: code.digest(stage, package) for stage in stages if stage in needed}


def _above(definition: Mapping[str, Any]) -> set[str]:
    """Stages whose output a stage of `dvc.yaml` depends on."""
    return {name for dep in definition["deps"] for name in _UPSTREAM.findall(dep)}


def run_of(ablation: Ablation, dataset: str, seed: int, code_of: Mapping[str, str], root: Path = Path()) -> Run:
    """A run with its parameters, after the strict check of every section.

    Args:
        ablation: what is changed.
        dataset: whose parameters.
        seed: of all draws.
        code_of: as `codes` gives it.
        root: the project's folder.

    Raises:
        ConfigError: the ablation does not fit the dataset.
    """
    try:
        text = overrides.edited(ablation.overrides, dataset, root)
    except ConfigError as error:
        raise ConfigError(f"conf/ablations.yaml, {ablation.name}: {error}") from None
    conf = yaml.safe_dump({**(parsed(text) or {}), "seed": seed}, sort_keys=False, allow_unicode=True)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder)
        (trial / "conf").mkdir()
        shutil.copyfile(root / "params.yaml", trial / "params.yaml")
        (trial / "conf" / f"{dataset}.yaml").write_text(conf, encoding="utf-8")
        settings = config.load(dataset, trial)
    _check_row(ablation, settings)
    return Run(ablation, dataset, seed, conf, settings, keys(settings, code_of, root))


def _check_row(ablation: Ablation, settings: Config) -> None:
    """Rivals have rows only where they are trained."""
    rival = alone(ablation.row)
    if MODELS[ablation.row].listed and rival not in settings.baselines.rivals:
        raise ConfigError(
            f"conf/ablations.yaml, {ablation.name}: the row {ablation.row} is there only where baselines.rivals names "
            f"{rival}; put `baselines.rivals: [{rival}]` into its `set`, or take another row"
        )


def parameters(settings: Config) -> dict[str, Any]:
    """Of every section but those that no stage up to the last one reads."""
    return settings.model_dump(by_alias=True, exclude={"dataset", "gate", "report"})


def keys(settings: Config, code_of: Mapping[str, str], root: Path = Path()) -> dict[str, str]:
    """What decides the result of each stage up to the last one: parameters, code and what the stages before wrote."""
    pipeline = read_sections(root / "dvc.yaml")["stages"]
    values = parameters(settings)
    made = {"configure": "", "source": _source(settings.dataset, root)}
    for stage, its_code in code_of.items():
        definition = pipeline[stage]
        read_by = [name for part in definition["params"] for names in part.values() for name in names]
        above = _above(definition) or {"source"}
        told = {
            "parameters": {name: values[name] for name in read_by},
            "code": its_code,
            "above": sorted(made[name] for name in above),
        }
        made[stage] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    return {stage: key for stage, key in made.items() if stage not in ("configure", "source")}


def _source(dataset: str, root: Path) -> str:
    """DVC's record of a source, else its content, else names and sizes of its files."""
    folder = root / "sources" / dataset
    record = folder.with_name(f"{dataset}.dvc")
    if record.exists():
        return hashlib.sha256(record.read_bytes()).hexdigest()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    small = sum(path.stat().st_size for path in files) <= SMALL
    told = hashlib.sha256()
    for path in files:
        told.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
        if small:
            told.update(path.read_bytes())
    return told.hexdigest()
