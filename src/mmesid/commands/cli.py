"""The `mmesid` command. Thin: each command calls one function and shows what it returns.

Heavy packages are imported by the command that needs them, so that `mmesid --help` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mmesid import __version__
from mmesid.commands import screen
from mmesid.errors import ConfigError, MmesidError

app = typer.Typer(
    help="Train, judge, promote and serve a multimodal LLM recommender with semantic IDs. `dvc repro` trains it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Dataset = Annotated[str, typer.Argument(help="Name of a dataset: a file in conf/, without the ending.")]
Datasets = Annotated[str, typer.Option(help="Datasets, separated by commas; those of params.yaml by default.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; null stands for what has no record.")]
Runs = Annotated[str, typer.Option(help="champion, challenger, latest, v1, run ids or executions, by commas.")]
Against = Annotated[str, typer.Option(help="The run to compare with; by default the champion, else the oldest.")]
Place = Annotated[str, typer.Argument(help="A folder, made if missing, or s3://bucket/prefix.")]
Artifacts = Annotated[
    str, typer.Option(envvar="MLFLOW_ARTIFACTS_DESTINATION", help="s3://BUCKET/PREFIX, else mlruns/.")
]
EndpointUrl = Annotated[str, typer.Option(help="Of an S3 service that is not Amazon's.")]

_plain, _say, _show, _table, _tables = screen.plain, screen.say, screen.show, screen.table, screen.tables
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
    from mmesid.commands import add as adding

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

    (answer,) = registry.load_champion(dataset, _root()).recommend([_names(history)], k)
    rows = [[str(rank), item.item_id, item.title, f"{item.score:.3f}"] for rank, item in enumerate(answer.items, 1)]
    _tables([("", ["", "item", "title", "score"], rows)])
    if answer.note:
        _say(f"note: {_plain(answer.note)}")


@app.command()
def serve(
    dataset: Dataset,
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(help="Processes that answer.", min=1)] = 1,
    host: Annotated[str, typer.Option(help="Loopback address to listen at.")] = "127.0.0.1",
) -> None:
    """Serve the champion over HTTP, by MLflow's scoring server, until Ctrl-C."""
    _become("mmesid.servers.serve", dataset, "--host", host, "--port", str(port), "--workers", str(workers))


@app.command()
def doctor() -> None:
    """Tell what is missing or wrong on this machine, and what to do about it."""
    from mmesid.commands.doctor import examine

    findings = examine(_root())
    remedies = [f"\n→ {_plain(found.remedy)}" * bool(found.remedy) for found in findings]
    pairs = zip(findings, remedies, strict=True)
    _table([""] * 3, [[MARKS[f.level], _plain(f.subject), _plain(f.detail) + remedy] for f, remedy in pairs])
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
def up(
    host: Annotated[str, typer.Option(help="Address; other than loopback demands passwords.")] = "127.0.0.1",
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's pages.", min=1, max=65535)] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's pages.", min=1, max=65535)] = 5000,
    postgres: Annotated[str, typer.Option(envvar="MMESID_POSTGRES", help="postgresql://USER:PASSWORD@HOST:PORT")] = "",
    artifacts_destination: Artifacts = "",
) -> None:
    """Start Prefect, its worker and MLflow, with a scheduled retrain of each dataset, until Ctrl-C."""
    ports = ["--prefect-port", str(prefect_port), "--mlflow-port", str(mlflow_port)]
    given = {"MMESID_POSTGRES": postgres, "MLFLOW_ARTIFACTS_DESTINATION": artifacts_destination}
    _become("mmesid.servers.up", "--host", host, *ports, **given)


@app.command()
def reap() -> None:
    """Close runs in MLflow and Prefect that a kill has left running; `up` and each retrain do it first."""
    _become("mmesid.servers.reap")


@app.command()
def plan(datasets: Datasets = "", as_json: AsJson = False) -> None:
    """Tell what `dvc repro` would run, why, and about how long and how large. Runs and changes nothing."""
    from mmesid.commands import plan as planning

    found = planning.plan(_names(datasets), _root())
    if as_json:
        print(planning.to_json(found))
        return
    _tables([planning.table(found)])
    _say(_plain(planning.summary(found)))


@app.command()
def compare(datasets: Datasets = "", runs: Runs = "", against: Against = "") -> None:
    """Put recorded runs beside each other, and write it to reports/compare.html and reports/compare.csv."""
    from mmesid.commands import compare as comparing

    root = _root()
    found = comparing.compare(_names(datasets), _names(runs), against.strip() or None, root)
    _tables(comparing.printed(found))
    _say(f"wrote {' and '.join(comparing.save(found, __version__, root))}")


@app.command()
def remote(place: Place, endpoint_url: EndpointUrl = "") -> None:
    """Make a folder or an S3 prefix the place to which `dvc push` takes results and from which `dvc pull` fetches."""
    from mmesid.commands import remote as remotes

    _say(_plain(remotes.describe(remotes.use(place, _root(), endpoint_url or None))))


@app.command()
def mend() -> None:
    """Put aside a dvc.lock that a kill left half-written; `make repro` does it first."""
    from mmesid.pipeline import mend as mending

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

    asked = registry.moment()
    record = registry.promote(dataset, _root())
    _show(registry.describe(record, asked))
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

    records = registry.decisions(dataset, _root())
    _show("\n\n".join(registry.describe(record) for record in records) or f"no decision on {dataset} yet")


def _root() -> Path:
    """The project's folder: this one or the nearest above it that holds params.yaml and dvc.yaml."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").exists() and (folder / "dvc.yaml").exists():
            return folder
    raise ConfigError(f"no params.yaml and dvc.yaml in {here} or above; run this in the project's folder")


def _names(text: str) -> list[str]:
    """What stands between commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _become(module: str, *arguments: str, **variables: str) -> None:
    """Turn into a program of `flows/`, which alone speaks to Prefect. What is secret goes into its environment."""
    os.chdir(_root())
    os.environ.update({name: value for name, value in variables.items() if value})
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
