"""What is kept of an ablation's run, small enough for git: `reports/ablations/<dataset>/<name>/seed-<k>.{json,npz}`."""

import json
import shlex
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from mmesid.artifacts.files import save_json, write_atomically
from mmesid.errors import ArtifactError, first_line
from mmesid.models import MAIN_BASELINE, MAIN_MODEL, NETWORK_MODEL

LARGEST = 255  # a rank from here on is written as this: no metric but the mean reciprocal rank looks so far down
_PLACE = ("reports", "ablations")
_ARRAYS = {"ranks": "u", "valid_ranks": "u", "taus": "f"}  # what the file of arrays holds, and of which kind of dtype


class Task(NamedTuple):
    """Whose next item was asked for, and among which."""

    users: str  # digest of the test users and their targets
    excluded: bool  # whether their earlier items are no candidates
    items: int


class AblationResult(NamedTuple):
    """One ablation with one seed.

    key: digest of all that decided the result.
    parameters: every section up to `evaluate`, after all overrides.
    users: digest of the test users and their targets.
    metrics: as `metrics.json` holds them, of the test users, without what no table shows.
    spectra: singular values of item vectors over the largest, by name.
    stages: by stage, its key and the seconds that it took where it ran; null where nobody knows.
    tokens: that fine-tuning read, over all epochs.
    ranks: of each test user's target by row of the tables, (B,), LARGEST at most.
    valid_ranks: of the validation users of the gate's half, (G,); empty in results from before these were kept.
    taus: order kept of each test user, nan where it was not judged, by `<modality>.<set of code tables>`, (B,).
    """

    dataset: str
    name: str
    seed: int
    key: str
    parameters: dict[str, Any]
    users: str
    metrics: dict[str, Any]
    spectra: dict[str, list[float]]
    stages: dict[str, dict[str, Any]]
    tokens: int
    ranks: dict[str, NDArray[np.uint8]]
    taus: dict[str, NDArray[np.float16]]
    valid_ranks: dict[str, NDArray[np.uint8]]

    @property
    def task(self) -> Task:
        """What was asked; results of equal tasks can be compared user by user."""
        excluded = self.parameters.get("protocol", {}).get("exclude_history", True)
        return Task(self.users, excluded, self.metrics["data"]["items"])

    @property
    def minutes(self) -> float | None:
        """Of all stages together, wherever they ran; None where a stage's are not known."""
        seconds = [stage["seconds"] for stage in self.stages.values()]
        return None if None in seconds else sum(seconds) / 60


def place(root: Path, dataset: str = "") -> Path:
    """Where the results of a dataset lie; without a name, those of all."""
    return root.joinpath(*_PLACE, dataset)


def save(result: AblationResult, root: Path = Path()) -> Path:
    """Both files; the one without arrays is written last and says that the result is whole."""
    values = result._asdict()
    arrays = {f"{kind}/{name}": array for kind in _ARRAYS for name, array in values.pop(kind).items()}
    path = _path(root, result.dataset, result.name, result.seed)
    path.unlink(missing_ok=True)
    write_atomically(path.with_suffix(".npz"), lambda beside: _compress(beside, arrays))
    save_json(path, values)
    return path


def load(root: Path, dataset: str, name: str, seed: int) -> AblationResult | None:
    """None where there is none.

    Raises:
        ArtifactError: a file is damaged.
    """
    path = _path(root, dataset, name, seed)
    return _load(path) if path.exists() else None


def load_all(root: Path, dataset: str) -> list[AblationResult]:
    """Every result of a dataset, by name and seed.

    Raises:
        ArtifactError: a file is damaged.
    """
    found = [_load(path) for path in place(root, dataset).glob("*/seed-*.json")]
    return sorted(found, key=lambda result: (result.name, result.seed))


def datasets(root: Path) -> list[str]:
    """Names of the datasets that have a result."""
    return sorted({path.parts[-3] for path in place(root).glob("*/*/seed-*.json")})


def _path(root: Path, dataset: str, name: str, seed: int) -> Path:
    return place(root, dataset) / name / f"seed-{seed}.json"


class _Stage(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    key: str
    seconds: float | None


class _Collapse(BaseModel):
    kept_dimensions: float


class _Data(BaseModel):
    items: int
    users: int


class _Quality(BaseModel):
    collision_rate: float
    code_use: float


class _Metrics(BaseModel):
    """What tables read beside the ranks."""

    collapse: _Collapse
    data: _Data
    tokenizer: dict[str, _Quality]


class _Plain(BaseModel):
    """The file without arrays."""

    model_config = ConfigDict(strict=True, extra="forbid")

    dataset: str
    name: str
    seed: int
    key: str
    parameters: dict[str, Any]
    users: str
    metrics: _Metrics
    spectra: dict[str, list[float]]
    stages: dict[str, _Stage]
    tokens: int


def _load(path: Path) -> AblationResult:
    with _whole(path, path):
        values = json.loads(path.read_text(encoding="utf-8"))
        plain = _Plain.model_validate(values)
        if path.parts[-3:] != _path(Path(), plain.dataset, plain.name, plain.seed).parts[-3:]:
            raise ValueError(f"it holds the result of {plain.name}, seed {plain.seed}, on {plain.dataset}")
    beside = path.with_suffix(".npz")
    with _whole(beside, path):
        arrays = _arrays(beside, plain.metrics.data.users)
    return AblationResult(**values, **arrays)  # type: ignore[arg-type]


def _arrays(path: Path, users: int) -> dict[str, dict[str, NDArray[Any]]]:
    """By kind and name; raises ValueError where one is not a number for each of its users."""
    found: dict[str, dict[str, NDArray[Any]]] = {kind: {} for kind in _ARRAYS}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            kind, _, short = name.partition("/")
            values = arrays[name]
            of = users if kind != "valid_ranks" else next(iter(found[kind].values()), values.ravel()).size
            if values.shape != (of,) or values.dtype.kind != _ARRAYS.get(kind):
                raise ValueError(f"{name} is {values.dtype} {values.shape}, not one number for each of {of} users")
            found[kind][short] = values
    if absent := [row for row in (MAIN_MODEL, NETWORK_MODEL, MAIN_BASELINE) if row not in found["ranks"]]:
        raise ValueError(f"it lacks ranks/{absent[0]}")
    return found


@contextmanager
def _whole(file: Path, path: Path) -> Iterator[None]:
    """Read one of the two files of the result at `path`; what is wrong with it is said with what mends it."""
    try:
        yield
    except FileNotFoundError:
        why = "missing"
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            raise ArtifactError(f"{file} is of a newer version of mme-sid: update this checkout to read it") from None
        why = f"damaged ({'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']})"
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        why = f"damaged ({first_line(error)})"
    else:
        return
    both = shlex.join(["rm", "-f", str(path), str(path.with_suffix(".npz"))])
    dataset, name, seed = *path.parts[-3:-1], path.stem.removeprefix("seed-")
    seeds = f" --seeds {int(seed) + 1}" if seed.isdecimal() else ""
    raise ArtifactError(
        f"{file} is {why}: `{both}` removes the result, and `mmesid ablate {dataset} --only {name}{seeds}` makes it"
    )


def _compress(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
