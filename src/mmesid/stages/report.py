"""One page over all datasets: results, training curves, diagnoses, and users with pictures."""

from collections.abc import Sequence
from pathlib import Path

import mmesid
from mmesid.artifacts.claims import load as load_claims
from mmesid.artifacts.curves import load_curves
from mmesid.artifacts.evaluate import has_metrics, load_examples, load_metrics, load_spectra
from mmesid.artifacts.files import write_atomically
from mmesid.artifacts.prepare import load_items, load_pictures
from mmesid.artifacts.store import Store
from mmesid.artifacts.tokenize import load_semantic_ids
from mmesid.config import Config
from mmesid.reporting import examples, figures, html, tables
from mmesid.stages.entry import main_all


def run(configs: Sequence[Config]) -> None:
    """See `dvc.yaml`; writes `reports/report.html`. A dataset that is not evaluated yet is left out of the page."""
    evaluated = [config for config in configs if has_metrics(Store(config.dataset))]
    page = html.render([_collect(config) for config in evaluated], mmesid.__version__, load_claims())
    write_atomically(Path("reports/report.html"), lambda beside: beside.write_text(page, encoding="utf-8"))


def _collect(config: Config) -> html.DatasetReport:
    store = Store(config.dataset)
    return html.DatasetReport(
        name=config.dataset,
        metrics=load_metrics(store),
        curves={stage: load_curves(store, stage) for stage in tables.STAGES},
        spectra=load_spectra(store),
        codes=figures.code_counts(load_semantic_ids(store)),
        examples=_examples(config, store),
    )


def _examples(config: Config, store: Store) -> list[examples.Example]:
    chosen, limits = load_examples(store), config.report
    if not chosen or not limits.example_users:
        return []
    items, pictures = load_items(store), load_pictures(store)
    return examples.build(chosen, items, pictures, limits.example_users, limits.recommendations)


if __name__ == "__main__":
    main_all(run)
