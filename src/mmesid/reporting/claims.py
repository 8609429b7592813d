"""The scoreboard of the paper's claims as a table."""

from collections.abc import Sequence

from mmesid.artifacts.claims import AGE_UNKNOWN, NOT_RUN, Finding
from mmesid.reporting.document import Section


def section(findings: Sequence[Finding]) -> Section:
    """A row for each claim, a column for each dataset."""
    datasets = list(dict.fromkeys(finding.dataset for finding in findings))
    claims = dict.fromkeys(finding.claim for finding in findings)
    by_cell = {(finding.claim, finding.dataset): finding for finding in findings}
    rows = [
        _row([by_cell[claim, dataset] for dataset in datasets if (claim, dataset) in by_cell], datasets)
        for claim in claims
    ]
    text = (
        "Order kept is Kendall's tau times 100; differences in nDCG are of networks without late fusion, and the "
        "paper's settings have a verdict of their own beside the dataset's. Values are averaged over the seeds that "
        "all sides have; in brackets the 95 % interval over users, paired where two are compared. A claim holds, or "
        "does not, where the interval lies on one side; of order kept, at least the paper's figure is asked."
    )
    if any(finding.measured.endswith(AGE_UNKNOWN) for finding in findings):
        text += (
            f" {AGE_UNKNOWN}: this checkout has no conf of the dataset, so nobody can tell whether the results are of "
            "today's parameters and code."
        )
    return Section("The paper's claims", text, ["claim", "the paper's figure", *datasets, "made by"], rows)


def _row(findings: Sequence[Finding], datasets: Sequence[str]) -> list[str]:
    first, cells = findings[0], {finding.dataset: cell(finding) for finding in findings}
    source = f" ({first.source})" if first.source else ""
    told = [cells.get(dataset, NOT_RUN) for dataset in datasets]
    return [first.says, f"{first.published}{source}", *told, _made_by(findings)]


def _made_by(findings: Sequence[Finding]) -> str:
    """One command for all datasets, or one for each number of seeds with the datasets that have it."""
    datasets: dict[str, list[str]] = {}
    for finding in findings:
        command = finding.command.replace(f"ablate {finding.dataset} ", "ablate DATASET ")
        datasets.setdefault(f"`{command}`", []).append(finding.dataset)
    if len(datasets) == 1:
        return next(iter(datasets))
    return "; ".join(f"{command} ({', '.join(names)})" for command, names in datasets.items())


def cell(finding: Finding) -> str:
    """`holds: text 45.1 % [44.0, 46.2] (seeds 0, 1)`."""
    if finding.verdict == NOT_RUN:
        return NOT_RUN
    seeds = f" ({seeds_label(finding.seeds)})" if finding.seeds else ""
    return f"{finding.verdict}: {finding.measured}{seeds}"


def seeds_label(seeds: Sequence[int]) -> str:
    """`seed 0`, `seeds 0, 1`."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
