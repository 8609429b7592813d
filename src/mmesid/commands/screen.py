"""What `mmesid` prints: lines, tables, Markdown, times and sizes. rich is imported when the first line is shown."""

import sys
from collections.abc import Iterable
from typing import Any

MARKS = {"fine": "[green]✓[/]", "warning": "[yellow]![/]", "wrong": "[red]✗[/]"}
ASCII_MARKS = {"fine": "[green]ok[/]", "warning": "[yellow]![/]", "wrong": "[red]x[/]"}
NARROWEST = 20  # characters of a terminal whose width is believed
UNKNOWN = "no record"


def say(text: str, error: bool = False) -> None:
    """A line; square brackets are markup."""
    _console(error).print(text)


def tell(lines: Iterable[str], error: bool = False) -> None:
    """Lines of plain text."""
    for line in lines:
        say(plain(line), error)


def complain(text: str) -> None:
    """What has ended a command, plain text; without colors where memory does not even suffice for these."""
    try:
        say(f"[bold red]Error:[/] {plain(text)}", error=True)
    except (MemoryError, OSError):
        sys.stderr.write(f"Error: {text}\n")


def plain(text: str) -> str:
    """Text of others, in which square brackets are no markup."""
    from rich.markup import escape

    return escape(text)


def table(titles: list[str], rows: list[list[str]], title: str = "", error: bool = False) -> None:
    """Cells may carry markup: pass other people's text through `plain`."""
    from rich import box
    from rich.table import Column, Table

    shown = Table(
        *(Column(head, overflow="fold") for head in titles),  # a long word is broken, never cut
        box=box.SIMPLE_HEAD if any(titles) else None,
        show_header=any(titles),
    )
    for row in rows:
        shown.add_row(*row)
    if title:
        say(f"[bold]{title}[/]", error)  # above, not in the table, which may be narrower
    _console(error).print(shown, soft_wrap=False)


def tables(contents: list[tuple[str, list[str], list[list[str]]]]) -> None:
    """Tables of plain text, each a title, heads and rows."""
    for title, heads, rows in contents:
        table([plain(head) for head in heads], [[plain(cell) for cell in row] for row in rows], plain(title))


def checklist(findings: Iterable[tuple[str, str, str, str]], error: bool = False) -> None:
    """A row for each finding of plain text: level (a key of MARKS), subject, detail, and below it the remedy."""
    rows = []
    ascii_only = _console(error).options.ascii_only
    marks, arrow = (ASCII_MARKS, "->") if ascii_only else (MARKS, "→")
    for level, subject, detail, remedy in findings:
        advice = f"\n{arrow} {plain(remedy)}" if remedy else ""
        rows.append([marks[level], plain(subject), plain(detail) + advice])
    table([""] * 3, rows, error=error)


def show(markdown: str) -> None:
    """Markdown, laid out for the terminal."""
    from rich.markdown import Markdown

    _console().print(Markdown(markdown), soft_wrap=False)


def duration(seconds: float | None) -> str:
    """`2 min 5 s`, `1 h 4 min`; what is not known is said."""
    if seconds is None:
        return UNKNOWN
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole else "< 1 s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float | None) -> str:
    """Bytes in decimal units, as DVC shows them."""
    if count is None:
        return UNKNOWN
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _console(error: bool = False) -> Any:
    from rich.console import Console

    console = Console(stderr=error, soft_wrap=True, highlight=False)
    if console.width < NARROWEST:  # COLUMNS=0, or a terminal that does not tell
        console.width = 80
    return console
