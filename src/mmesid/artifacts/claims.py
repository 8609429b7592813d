"""`reports/claims.json`: which of the paper's claims hold, by dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmesid.artifacts.files import load_json, save_json
from mmesid.errors import ArtifactError

PATH = Path("reports", "claims.json")
HOLDS, FAILS, OPEN, SILENT = "holds", "does not hold", "not decided", "says nothing here"
NOT_JUDGED, NOT_RUN = "not judged", "not run"
AGE_UNKNOWN = "(age unknown)"  # behind what was measured


class Finding(NamedTuple):
    """One claim on one dataset.

    value, low, high: what decides, in the unit of `measured`, with its 95 % interval over users; None where the claim
        was not run or nothing is drawn (a spectrum has no interval).
    """

    claim: str  # its name
    says: str
    published: str  # the paper's figure, or that it is not known
    source: str  # of that figure
    dataset: str
    measured: str  # in words, with numbers
    value: float | None
    low: float | None
    high: float | None
    verdict: str  # one of the six above
    seeds: list[int]
    command: str  # that makes the finding


def save(findings: Sequence[Finding], root: Path = Path()) -> Path:
    """Write them all."""
    save_json(root / PATH, [finding._asdict() for finding in findings])
    return root / PATH


def load(root: Path = Path()) -> list[Finding]:
    """As they were written; none where there is no file.

    Raises:
        ArtifactError: the file is damaged, or another version wrote it.
    """
    path = root / PATH
    if not path.exists():
        return []
    try:
        return [Finding(**values) for values in load_json(path)]
    except TypeError:
        raise ArtifactError(
            f"{path} is not as this version of mme-sid writes it: `mmesid claims` writes it anew"
        ) from None
