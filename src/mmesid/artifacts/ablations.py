"""What is kept of an ablation's run, small enough for git: `reports/ablations/<dataset>/<name>/seed-<k>.{json,npz}`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.files import load_json, save_json, write_atomically
from mmesid.errors import ArtifactError

LARGEST = 255  # a rank from here on is written as this: no metric but the mean reciprocal rank looks so far down
_PLACE = ("reports", "ablations")


class AblationResult(NamedTuple):
    """One ablation with one seed.

    key: digest of all that decided the result.
    parameters: every section up to `evaluate`, after all overrides.
    users: digest of the test users and their targets; equal ones can be compared user by user.
    metrics: as `metrics.json` holds them, of the test users, without what no table shows.
    spectra: singular values of item vectors over the largest, by name.
    stages: by stage, its key and the seconds that it took where it ran; null where nobody knows.
    tokens: that fine-tuning read, over all epochs.
    ranks: of each test user's target by row of the tables, (B,), LARGEST at most.
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
    arrays = {f"ranks/{name}": values for name, values in values.pop("ranks").items()}
    arrays |= {f"taus/{name}": values for name, values in values.pop("taus").items()}
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


def _load(path: Path) -> AblationResult:
    values: dict[str, Any] = dict(load_json(path))
    ranks: dict[str, NDArray[Any]] = {}
    taus: dict[str, NDArray[Any]] = {}
    beside = path.with_suffix(".npz")
    try:
        with np.load(beside, allow_pickle=False) as arrays:
            for name in arrays.files:
                kind, _, short = name.partition("/")
                {"ranks": ranks, "taus": taus}[kind][short] = arrays[name]
        return AblationResult(**values, ranks=ranks, taus=taus)
    except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ArtifactError(
            f"{beside} is missing or damaged ({error}): delete it, and `mmesid ablate` makes it"
        ) from None


def _compress(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
