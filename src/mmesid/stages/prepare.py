"""Stage `prepare`: canonical tables into sequences over ids 1..N."""

from mmesid.artifacts.ingest import load_catalogue
from mmesid.artifacts.prepare import save_prepared
from mmesid.artifacts.store import Store
from mmesid.artifacts.ties import save_tied_share
from mmesid.config import Config
from mmesid.data.preparation import prepare, tied_share
from mmesid.stages.entry import main
from mmesid.tracking import StageRun


def run(config: Config, store: Store, log: StageRun) -> None:
    """Filter, order and number the catalogue."""
    catalogue = load_catalogue(store)
    prepared = prepare(catalogue, config.prepare, config.seed)
    tied = tied_share(catalogue, prepared, config.prepare)
    save_prepared(store, prepared)
    save_tied_share(store, tied)
    sequences = prepared.sequences
    interactions = sum(len(items) for items in sequences.items)
    counts = {"users": len(sequences.user_ids), "items": sequences.n_items, "interactions": interactions}
    if lacking := int(catalogue.interactions[["user_id", "item_id"]].isna().any(axis=1).sum()):
        counts["interactions_without_ids"] = lacking
    shares = {"sparsity": sequences.sparsity(), "tied": tied}
    log({name: float(count) for name, count in counts.items()} | shares, 0)


if __name__ == "__main__":
    main(run)
