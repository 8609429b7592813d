"""`mmesid claims`: the scoreboard as `reports/claims.json`, in the terminal, and between two markers of a document."""

from collections.abc import Sequence
from pathlib import Path

from mmesid.artifacts import ablations as kept
from mmesid.artifacts import claims as file
from mmesid.artifacts.claims import Finding
from mmesid.artifacts.evaluate import reported_metrics
from mmesid.commands.claims import judging
from mmesid.commands.claims.report import in_order
from mmesid.commands.results import fill
from mmesid.errors import ConfigError
from mmesid.reporting.claims import section
from mmesid.reporting.document import markdown_table

BEGIN, END = "<!-- claims: written by `mmesid claims --write README.md` from reports/ablations -->", "<!-- /claims -->"


def judge(root: Path) -> list[Finding]:
    """Every claim on every dataset that has results.

    Raises:
        ConfigError: none has.
    """
    datasets = in_order([*reported_metrics(root), *kept.datasets(root)])
    if not datasets:
        raise ConfigError(f"{root.absolute()} has neither reports/<dataset>/metrics.json nor reports/ablations/")
    return judging.findings(datasets, root)


def write(root: Path, document: Path | None) -> list[Finding]:
    """Judge and write; returns what was found.

    Raises:
        ConfigError: there are no results, or the document lacks the markers.
    """
    found = judge(root)
    if document is not None:
        fill(document, BEGIN, END, table(found))
    file.save(found, root)
    return found


def printed(found: Sequence[Finding]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, heads and rows of a table for each dataset: a terminal has no room for all of them side by side."""
    parts = {dataset: [each for each in found if each.dataset == dataset] for dataset in (f.dataset for f in found)}
    shown = {dataset: section(part) for dataset, part in parts.items()}
    return [(f"the paper's claims on {n}", list(s.heads), [list(row) for row in s.rows]) for n, s in shown.items()]


def table(found: list[Finding]) -> str:
    """As the README shows it."""
    whole = section(found)
    return f"{markdown_table(whole)}\n\n{whole.text}\n"
