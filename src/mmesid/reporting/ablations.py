"""Ablations beside the model that they are compared with, as one table."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mmesid.models import MAIN_METRIC, model_label
from mmesid.reporting.claims import seeds_label
from mmesid.reporting.document import Section
from mmesid.reporting.tables import verdict

NOTHING = "–"
HEADS = (
    "ablation",
    "what it tells",
    "seeds",
    "judged by",
    "nDCG@5",
    "nDCG@10",
    "against best",
    "on validation",
    "against best there",
    "network alone",
    "against best's",
    "order kept, %",
    "dimensions kept",
    "minutes",
    "tokens",
    "made by",
)


class Estimate(NamedTuple):
    """A mean over users and seeds, or a difference of two, with its 95 % interval over users."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """See `tables.verdict`; of a difference."""
        return verdict(self.low, self.high)


class AblationRow(NamedTuple):
    """One ablation over its seeds; what is not known is None or empty."""

    name: str
    tells: str
    command: str  # that makes the row
    row: str  # of the tables that it is judged by
    lacks: Sequence[str] = ()  # modalities that it needs and the dataset has not
    unread: str = ""  # a key that it changes and nothing reads there, and what would
    seeds: Sequence[int] = ()
    outdated: Sequence[int] = ()  # of these, whose result is of other parameters or code than those of now
    apart: Sequence[int] = ()  # other seeds, whose users or candidates are not the same: they count nowhere
    metrics: Mapping[str, Estimate] = {}  # of `row`, by name
    by_seed: Mapping[int, float] = {}  # nDCG@10 of `row`
    difference: Estimate | None = None  # of `row` to the reference's
    incomparable: str = ""  # why no user can be paired with the reference's
    valid: Estimate | None = None  # nDCG@10 of `row`, of the validation users of the gate's half
    valid_seeds: Sequence[int] = ()  # of `seeds`, that keep ranks of validation
    valid_difference: Estimate | None = None  # to the reference's
    network: Estimate | None = None  # nDCG@10 before late fusion
    network_difference: Estimate | None = None  # to that of the reference
    order_kept: Mapping[str, Estimate] = {}  # tau x 100 after fine-tuning, or before where it is not trained on
    kept_dimensions: float | None = None
    minutes: float | None = None  # of a run, wherever its stages ran
    tokens: int | None = None  # that fine-tuning read


def section(dataset: str, rows: Sequence[AblationRow], has_conf: bool = True) -> Section:
    """The table of a dataset; without its conf nobody can tell which results are outdated."""
    text = (
        f"Each ablation is the whole pipeline on `{dataset}` with the keys that `conf/ablations.yaml` names. Each "
        "user's values are averaged over the seeds; intervals (95 %) and differences are over users, paired. `against "
        "best`: nDCG@10 minus that of the dataset's own parameters, over the seeds that both have. `on validation`: "
        "nDCG@10 of the users on whom neither checkpoints nor late fusion were fitted; settings are chosen there, and "
        "test tells what they are worth. `order kept`: Kendall's tau of the code embeddings after fine-tuning, times "
        "100, by modality (in brackets where items are not made of those codes: before it). Minutes are of one run "
        "from the source on, tokens those that fine-tuning read."
    )
    if not has_conf:
        text += (
            f" This checkout has no `conf/{dataset}.yaml`, so nobody can tell whether these results are of today's "
            "parameters and code."
        )
    return Section(f"Ablations on {dataset}", text, HEADS, [cells(row) for row in rows])


def cells(row: AblationRow) -> list[str]:
    """As printed, in the order of HEADS."""
    if row.lacks or row.unread:
        why = f"has no {' and no '.join(row.lacks)}" if row.lacks else row.unread
        return [row.name, row.tells, f"left out, {why}", *[NOTHING] * (len(HEADS) - 3)]
    if not row.seeds:
        return [row.name, row.tells, "not run", *[NOTHING] * (len(HEADS) - 4), f"`{row.command}`"]
    return [
        row.name,
        row.tells,
        seeds(row.seeds, row.outdated, row.apart),
        model_label(row.row),
        estimate(row.metrics.get("ndcg_at_5")),
        estimate(row.metrics.get(MAIN_METRIC)) + _by_seed(row),
        row.incomparable or difference(row.difference),
        estimate(row.valid) + _fewer(row.valid_seeds, row.seeds),
        row.incomparable or difference(row.valid_difference),
        estimate(row.network),
        row.incomparable or difference(row.network_difference),
        "; ".join(f"{modality} {found.value:.1f}" for modality, found in row.order_kept.items()) or NOTHING,
        NOTHING if row.kept_dimensions is None else f"{row.kept_dimensions:.1%}",
        NOTHING if row.minutes is None else f"{row.minutes:.0f}" if row.minutes >= 10 else f"{row.minutes:.1f}",
        NOTHING if row.tokens is None else f"{row.tokens:,}",
        f"`{row.command}`",
    ]


def seeds(counted: Sequence[int], outdated: Sequence[int] = (), apart: Sequence[int] = ()) -> str:
    """`0, 1 (of other parameters or code: 0)`."""
    told = {"of other parameters or code": outdated, "of other users or candidates, not counted": apart}
    notes = [f"{what}: {', '.join(map(str, found))}" for what, found in told.items() if found]
    return ", ".join(map(str, counted)) + (f" ({'; '.join(notes)})" if notes else "")


def estimate(found: Estimate | None) -> str:
    """`0.1234 [0.1200, 0.1268]`."""
    return NOTHING if found is None else f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]"


def difference(found: Estimate | None) -> str:
    """`above: +0.0123 [+0.0100, +0.0146]`; `the same` where no user's list differs."""
    if found is None:
        return NOTHING
    if found.low == found.high == 0:
        return "the same"
    return f"{found.verdict}: {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def _fewer(these: Sequence[int], of: Sequence[int]) -> str:
    """` (seeds 0, 2)` where some are missing, but not all."""
    return f" ({seeds_label(these)})" if 0 < len(these) < len(of) else ""


def _by_seed(row: AblationRow) -> str:
    values = ", ".join(f"{value:.4f}" for value in row.by_seed.values())
    return f" (by seed {values})" if len(row.by_seed) > 1 else ""


def brief(row: AblationRow) -> list[str]:
    """As a terminal has room for it: name, seeds, nDCG@10, against best, network alone, against best's, minutes."""
    found = dict(zip(HEADS, cells(row), strict=True))
    return [found[head].replace(" [", "\n[").partition(" (by")[0] for head in BRIEF]


BRIEF = ("ablation", "seeds", "nDCG@10", "against best", "network alone", "against best's", "minutes")
