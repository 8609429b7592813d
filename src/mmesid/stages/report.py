"""One page over all datasets: results, training curves, diagnoses, and users with pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmesid
from mmesid.artifacts.curves import load_history
from mmesid.artifacts.files import load_json, write_atomically
from mmesid.artifacts.prepare import load_prepared
from mmesid.artifacts.store import Store
from mmesid.artifacts.tokenize import load_semantic_ids
from mmesid.config import Config
from mmesid.reporting import examples, figures, html, tables
from mmesid.stages.entry import main_all


def run(configs: Sequence[Config]) -> None:
    """See `dvc.yaml`; writes `reports/report.html`. A dataset that is not judged yet is left out of the page."""
    judged = [config for config in configs if (Store(config.dataset).folder("evaluate") / "metrics.json").exists()]
    page = html.render([_collect(config) for config in judged], mmesid.__version__)
    write_atomically(Path("reports/report.html"), lambda beside: beside.write_text(page, encoding="utf-8"))


def _collect(config: Config) -> html.DatasetReport:
    store = Store(config.dataset)
    return html.DatasetReport(
        name=config.dataset,
        metrics=load_json(store.folder("evaluate") / "metrics.json"),
        histories={stage: load_history(store, stage) for stage in tables.STAGES},
        spectra=_optional(store.folder("evaluate") / "spectrum.json", {}),
        codes=figures.code_counts(load_semantic_ids(store)),
        examples=_examples(config, store),
    )


def _examples(config: Config, store: Store) -> list[examples.Example]:
    chosen = _optional(store.folder("evaluate") / "examples.json", [])
    limits = config.report
    if not chosen or not limits.example_users:
        return []
    items = load_prepared(store).items
    return examples.build(chosen, items, limits.example_users, limits.recommendations)


def _optional(path: Path, default: Any) -> Any:
    return load_json(path) if path.exists() else default


if __name__ == "__main__":
    main_all(run)
