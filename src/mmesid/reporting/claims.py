"""The scoreboard of the paper's claims as a table."""

from collections.abc import Sequence

from mmesid.artifacts.claims import NOT_RUN, Finding
from mmesid.reporting.document import Section


def section(findings: Sequence[Finding]) -> Section:
    """A row for each claim, a column for each dataset."""
    datasets = list(dict.fromkeys(finding.dataset for finding in findings))
    claims = dict.fromkeys(finding.claim for finding in findings)
    by_cell = {(finding.claim, finding.dataset): finding for finding in findings}
    rows = [_row([by_cell[claim, dataset] for dataset in datasets]) for claim in claims]
    text = (
        "Order kept is Kendall's tau times 100; differences in nDCG are of networks without late fusion. Values are "
        "averaged over the seeds; in brackets the 95 % interval over users, paired where two are compared. A claim "
        "holds, or does not, where the interval lies on one side; of order kept, at least the paper's figure is asked."
    )
    return Section("The paper's claims", text, ["claim", "the paper's figure", *datasets, "made by"], rows)


def _row(findings: Sequence[Finding]) -> list[str]:
    first = findings[0]
    source = f" ({first.source})" if first.source else ""
    command = first.command.replace(f"ablate {first.dataset} ", "ablate DATASET ")
    return [first.says, f"{first.published}{source}", *(cell(finding) for finding in findings), f"`{command}`"]


def cell(finding: Finding) -> str:
    """`holds: text 45.1 % [44.0, 46.2] (seeds 0, 1)`."""
    if finding.verdict == NOT_RUN:
        return NOT_RUN
    seeds = f" (seed{'s' if len(finding.seeds) > 1 else ''} {', '.join(map(str, finding.seeds))})"
    return f"{finding.verdict}: {finding.measured}{seeds}"
