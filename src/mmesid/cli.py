"""The `mmesid` command. Thin: each command calls one function and shows what it returns.

Heavy packages are imported by the command that needs them, so that `mmesid --help` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mmesid import __version__
from mmesid.errors import ConfigError, MmesidError

app = typer.Typer(
    help="Train, judge, promote and serve a multimodal LLM recommender with semantic IDs. `dvc repro` trains it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Dataset = Annotated[str, typer.Argument(help="Name of a dataset: a file in conf/, without the ending.")]

MARKS = {"fine": "[green]✓[/]", "warning": "[yellow]![/]", "wrong": "[red]✗[/]"}
QUIET = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def main() -> None:
    """Run the command line. An error that a person can mend is one red message and exit status 1."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        app()
    except MmesidError as error:
        _say(f"[bold red]Error:[/] {_plain(str(error))}", error=True)
        sys.exit(1)


@app.callback(invoke_without_command=True)
def common(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        _say(f"mmesid {__version__}")
        raise typer.Exit


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the new dataset.")],
    files: Annotated[Path, typer.Option(help="Folder with interactions, items and pictures.")],
    copy: Annotated[bool, typer.Option(help="Copy the folder instead of linking to it.")] = False,
    force: Annotated[bool, typer.Option(help="Replace an existing link and conf/NAME.yaml.")] = False,
    enable: Annotated[bool, typer.Option(help="List the dataset in params.yaml, so that `dvc repro` runs it.")] = True,
) -> None:
    """Make a folder a dataset: inspect it, link it, write conf/NAME.yaml."""
    from mmesid import adding

    root = _root()
    added = adding.add(name, files, root, copy=copy, force=force, enable=enable)
    _table(["found", ""], [[_plain(subject), _plain(detail)] for subject, detail in added.inspection.rows()])
    _say(f"wrote {added.conf.relative_to(root)}; the files are at {added.source.relative_to(root)}")
    run = f'make repro DATASETS="{name}"'
    _say(f"run it: [bold]{run}[/]" if enable else f"add {name} to `datasets` in params.yaml, then: [bold]{run}[/]")


@app.command()
def recommend(
    dataset: Dataset,
    history: Annotated[str, typer.Option(help="Item ids, oldest first, separated by commas.")],
    k: Annotated[int, typer.Option("-k", help="Number of items.")] = 10,
) -> None:
    """Ask the champion what a user with this history takes next."""
    from mmesid import registry

    items = [item.strip() for item in history.split(",") if item.strip()]
    (answer,) = registry.load_champion(dataset, _root()).recommend([items], k)
    rows = [
        [str(rank), _plain(item.item_id), _plain(item.title), f"{item.score:.3f}"]
        for rank, item in enumerate(answer.items, start=1)
    ]
    _table(["", "item", "title", "score"], rows)
    if answer.note:
        _say(f"note: {_plain(answer.note)}")


@app.command()
def doctor() -> None:
    """Tell what is missing or wrong on this machine, and what to do about it."""
    from mmesid.doctor import examine

    findings = examine(_root())
    rows = [
        [
            MARKS[found.level],
            _plain(found.subject),
            _plain(found.detail) + (f"\n→ {_plain(found.remedy)}" * bool(found.remedy)),
        ]
        for found in findings
    ]
    _table(["", "", ""], rows)
    if any(found.level == "wrong" for found in findings):
        raise typer.Exit(1)


@app.command()
def log() -> None:
    """Send to MLflow what stages logged while the tracking server was down."""
    from mmesid import tracking
    from mmesid.tracking import journal

    root = _root()
    sent, waiting = tracking.send_pending(root), len(journal.pending(root))
    _say(f"{sent} stage runs sent to MLflow, {waiting} still waiting or running")


@app.command()
def mend() -> None:
    """Put aside a dvc.lock that a kill left half-written; `make repro` does it first."""
    from mmesid import mending

    done = mending.mend(_root())
    if done:
        _say(done)


@app.command()
def register(dataset: Dataset) -> None:
    """Register what the pipeline has trained, as the challenger."""
    from mmesid import registry

    version = registry.register(dataset, _root())
    _say(f"{registry.model_name(dataset)}: version {version} is the challenger; `mmesid promote {dataset}` judges it")


@app.command()
def promote(dataset: Dataset) -> None:
    """Make the challenger the champion, if the gate holds; exit status 1 if it does not."""
    from mmesid import registry

    record = registry.promote(dataset, _root())
    _show(registry.describe(record))
    if not record.passed:
        raise typer.Exit(1)


@app.command()
def rollback(dataset: Dataset) -> None:
    """Make the previous champion the champion again."""
    from mmesid import registry

    _show(registry.describe(registry.rollback(dataset, _root())))


@app.command()
def history(dataset: Dataset) -> None:
    """List every decision on this dataset's champion, oldest first."""
    from mmesid import registry

    records = registry.history(dataset, _root())
    _show("\n\n".join(registry.describe(record) for record in records) or f"no decision on {dataset} yet")


def _root() -> Path:
    """The project's folder: this one or the nearest above it that holds params.yaml and dvc.yaml."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").exists() and (folder / "dvc.yaml").exists():
            return folder
    raise ConfigError(f"no params.yaml and dvc.yaml in {here} or above; run this in the project's folder")


def _console(error: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=error, soft_wrap=True, highlight=False)


def _say(text: str, error: bool = False) -> None:
    _console(error).print(text)


def _plain(text: str) -> str:
    """Text of others, in which square brackets are no markup."""
    from rich.markup import escape

    return escape(text)


def _table(titles: list[str], rows: list[list[str]]) -> None:
    """Cells may carry markup: pass other people's text through `_plain`."""
    from rich import box
    from rich.table import Table

    table = Table(*titles, box=box.SIMPLE_HEAD if any(titles) else None, show_header=any(titles))
    for row in rows:
        table.add_row(*row)
    _console().print(table, soft_wrap=False)


def _show(markdown: str) -> None:
    from rich.markdown import Markdown

    _console().print(Markdown(markdown), soft_wrap=False)
