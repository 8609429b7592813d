"""`mmesid results`: the committed metrics of every dataset as Markdown, printed or written into a document."""

import re
from pathlib import Path

from mmesid.artifacts.evaluate import reported_metrics
from mmesid.artifacts.texts import save_text
from mmesid.commands.paper.datasets import CATEGORIES, RELEASE
from mmesid.config import known_datasets, load
from mmesid.errors import ConfigError, first_line
from mmesid.reporting import markdown

BUNDLED = "sample"
BEGIN, END = "<!-- results: written by `make results` from reports/*/metrics.json -->", "<!-- /results -->"


def table(root: Path = Path()) -> str:
    """Every `reports/<dataset>/metrics.json` as one table, the bundled dataset first.

    Raises:
        ConfigError: there is none.
    """
    metrics = reported_metrics(root)
    if not metrics:
        raise ConfigError(f"{root.absolute()} has no reports/<dataset>/metrics.json; `make repro` writes them")
    ordered = {name: metrics[name] for name in sorted(metrics, key=lambda name: (name != BUNDLED, name))}
    return markdown.results(ordered, {name: command_for(name, root) for name in ordered})


def write(document: Path, root: Path = Path()) -> None:
    """Put the table between the two markers of a document.

    Raises:
        ConfigError: the document is missing or has no markers.
    """
    fill(document, BEGIN, END, table(root))


def fill(document: Path, begin: str, end: str, content: str) -> None:
    """Put a text between two lines of a document.

    Raises:
        ConfigError: the document is missing or does not hold them.
    """
    try:
        text = document.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{document} does not exist; name a document that is there") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{document} is no text in UTF-8: {first_line(error)}") from None
    between = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
    if not between.search(text):
        raise ConfigError(f"{document} must hold the lines {begin} and {end}; the results go between them")
    filled = between.sub(lambda _: f"{begin}\n{content}{end}", text)
    save_text(document, filled)


def command_for(dataset: str, root: Path) -> str:
    """What makes the dataset's figures, as far as its conf, or the paper's list, tells where it comes from."""
    if dataset == BUNDLED:
        return "make repro"
    category, release = CATEGORIES.get(dataset), RELEASE
    if dataset in known_datasets(root):
        ingest = load(dataset, root).ingest
        category, release = ingest.category if ingest.source == "amazon" else None, ingest.release
    which = f" --release {release}" if release != RELEASE else ""  # which `mmesid add` takes by itself
    source = f"--source amazon --category {category}{which} --from ADDRESS" if category else "--files PATH"
    return f"mmesid add {dataset} {source} && make repro DATASETS={dataset}"
