"""`mmesid paper` on the command line: what the paper's datasets need; then they are added for `make paper`."""

from typing import Annotated

import typer

from mmesid.commands.project import find_root
from mmesid.commands.screen import checklist, tell
from mmesid.errors import ConfigError


def paper(
    datasets: Annotated[
        str, typer.Option(help="Like a,b; amazon-beauty, amazon-toys, amazon-sports without any.")
    ] = "",
    preset: Annotated[str, typer.Option(help="Of conf/presets, for datasets that are new: paper by default.")] = "",
    base_url: Annotated[str, typer.Option("--from", help="Address or folder of the files of new datasets.")] = "",
    gpus: Annotated[
        int, typer.Option(envvar="MMESID_PROCESSES", help="GPUs that share the work; 0 takes all there are.", min=0)
    ] = 0,
    only_plan: Annotated[bool, typer.Option("--plan", help="Only tell what a run would need.")] = False,
) -> None:
    """Tell what the paper's datasets need before anything is fetched, and add them; `make paper` then runs them.

    Prints the number of processes and the datasets for `make paper`, and all else on standard error.
    """
    from mmesid.commands import add_address, paper
    from mmesid.config import split_names

    root = find_root()
    chosen = paper.wanted(split_names(datasets), preset, base_url, root)
    found = paper.outlook(chosen, preset, gpus, root)
    checklist([("fine", subject, detail, "") for subject, detail in found.rows], error=True)
    if found.faults:
        checklist([("wrong", "cannot run", fault, "") for fault in found.faults], error=True)
        count = len(found.faults)
        raise ConfigError(f"nothing was fetched: {count} reason{'s' if count > 1 else ''} why this run cannot end")
    if only_plan:
        return
    for one in chosen:
        if one.new is not None:
            record, kept = add_address.add(one.name, one.new, root, False, False, True, preset or "paper")
            tell(add_address.describe(one.name, record, kept, True), error=True)
    typer.echo(f"{found.processes} {','.join(one.name for one in chosen)}")
