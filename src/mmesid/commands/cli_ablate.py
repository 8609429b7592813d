"""`mmesid ablate`, `claims` and `report`: the paper's own experiment as tables."""

from pathlib import Path
from typing import Annotated

import typer

from mmesid import __version__
from mmesid.commands.project import find_root
from mmesid.commands.screen import plain, say, tables

Known = Annotated[str, typer.Argument(help="A file in conf/, without the ending.")]
Only = Annotated[str, typer.Option(help="Ablations of conf/ablations.yaml, like mse,table; all by default.")]
Seeds = Annotated[int, typer.Option(help="How many, from 0.", min=1)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would run and about how long; run nothing.")]

Write = Annotated[Path | None, typer.Option(help="A document: the table goes between its two markers.")]


def ablate(dataset: Known, only: Only = "", seeds: Seeds = 3, dry_run: DryRun = False) -> None:
    """Train the ablations of conf/ablations.yaml and compare them. Goes on where it was stopped."""
    from mmesid.commands import ablate as ablating
    from mmesid.config import split_names
    from mmesid.reporting.ablations import BRIEF, brief

    root, names = find_root(), split_names(only)
    if dry_run:
        planned = ablating.plan(dataset, names, seeds, root)
        tables([ablating.printed(planned)])
        say(plain(ablating.summary(planned)))
        return
    rows = ablating.run(dataset, names, seeds, root, lambda line: say(plain(line), error=True))
    tables([(f"{dataset}: ablations", list(BRIEF), [brief(row) for row in rows if row.seeds])])
    say(plain(f"the whole table, with what was not run: reports/ablations/{dataset}/{ablating.TABLE}"))


def claims(write: Write = None) -> None:
    """Judge the paper's claims on what `mmesid ablate` has kept: reports/claims.json, and a table."""
    from mmesid.commands.claims import scoreboard

    root = find_root()
    tables(scoreboard.printed(scoreboard.write(root, write)))
    say("wrote reports/claims.json; `make repro` puts it into reports/report.html")


def report() -> None:
    """Write the tables of the paper run as reports/paper/paper.html, .md and .tex."""
    from mmesid.commands.claims import report

    root = find_root()
    for path in report.write(root, __version__):
        say(plain(f"wrote {path.relative_to(root)}"))
