"""Stage `validate`: the data gate. A failing expectation stops the pipeline before any training."""

from pathlib import Path
from typing import Any

from mmesid.artifacts.ingest import load_catalogue
from mmesid.artifacts.store import Store
from mmesid.artifacts.validate import save_validation
from mmesid.config import Config
from mmesid.data.expectations import judge
from mmesid.errors import ValidationFailed
from mmesid.reporting import validation
from mmesid.stages.entry import main
from mmesid.tracking import StageRun


def run(config: Config, store: Store, log: StageRun) -> None:
    """Judge the ingested tables, save verdict, rejects and report, and stop where an expectation does not hold.

    Raises:
        ValidationFailed: at least one expectation does not hold.
    """
    catalogue = load_catalogue(store)
    verdict = judge(catalogue, config.validate_)
    result = verdict.to_dict()
    html = validation.render(config.dataset, result, verdict.rejects, catalogue)
    rejects_path, page_path = save_validation(store, result, verdict.rejects, html)
    failing = [expectation for expectation in result["expectations"] if not expectation["passed"]]
    counts = {"expectations": len(result["expectations"]), "failing": len(failing), "rejects": len(verdict.rejects)}
    counts["ties"] = result["summary"]["ties"]
    log({name: float(count) for name, count in counts.items()}, 0)
    log.artifact(page_path)
    if failing:
        _print_table(failing)
        raise ValidationFailed(_explain(failing, result["summary"]["notes"], config.dataset, rejects_path, page_path))


def _print_table(failing: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Expectations that do not hold", title_justify="left", show_lines=True)
    for heading in ("expected", "found", "for example"):
        table.add_column(heading, overflow="fold")
    for result in failing:
        expected = f"{result['table']}: {result['description']}"
        found = f"{validation.found(result)}; {validation.limit(result)}"
        places = [f"{e['file']} row {e['row']}: {e['value']} ({e['reason']})" for e in result["examples"][:3]]
        table.add_row(*map(Text, (expected, found, "\n".join(places))))  # Text: brackets in a title are no markup
    Console(stderr=True).print(table)


def _explain(failing: list[dict[str, Any]], notes: list[str], dataset: str, rejects: Path, page: Path) -> str:
    lines = [f"{len(failing)} {'expectation does' if len(failing) == 1 else 'expectations do'} not hold"]
    for result in failing:
        limit = f"the limit is validate.{result['key']}" if result["key"] else "mend the source"
        lines.append(f"  {result['table']}: {result['description']}; found {validation.found(result)} ({limit})")
    lines += [f"  note: {note}" for note in notes]
    lines.append(f"  {page} shows them, {rejects} lists every rejected row with its file and reason.")
    lines.append(f"  Mend the source, or change a limit in conf/{dataset}.yaml")
    return "\n".join(lines)


if __name__ == "__main__":
    main(run)
