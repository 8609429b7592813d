"""Stage `prepare`: canonical tables into sequences over ids 1..N."""

from mmesid.artifacts.ingest import load_catalogue
from mmesid.artifacts.prepare import save_prepared
from mmesid.artifacts.store import Store
from mmesid.config import Config
from mmesid.data.preparation import prepare
from mmesid.stages.entry import main
from mmesid.tracking import StageRun


def run(config: Config, store: Store, log: StageRun) -> None:
    """Filter, order and number the catalogue."""
    prepared = prepare(load_catalogue(store), config.prepare)
    save_prepared(store, prepared)
    sequences = prepared.sequences
    interactions = sum(len(items) for items in sequences.items)
    users, items = len(sequences.user_ids), sequences.n_items
    counts = {"users": users, "items": items, "interactions": interactions}
    log({name: float(count) for name, count in counts.items()} | {"sparsity": 1 - interactions / (users * items)}, 0)


if __name__ == "__main__":
    main(run)
