"""Stage `ingest`: a source into canonical tables; filters nothing."""

from mmesid.artifacts.ingest import save_catalogue, save_oracle
from mmesid.artifacts.store import Store
from mmesid.config import Config
from mmesid.data import ORACLES, SOURCES
from mmesid.data.formats import How
from mmesid.stages.entry import main
from mmesid.tracking import StageRun


def run(config: Config, store: Store, log: StageRun) -> None:
    """Read `sources/<dataset>` and save it, with its law where it was drawn."""
    source = config.ingest.source
    embeddings = {str(modality): name for modality, name in config.ingest.embeddings.items()}
    catalogue = SOURCES[source](store.source(), embeddings, How.of(config.ingest))
    save_catalogue(store, catalogue)
    if source in ORACLES:
        save_oracle(store, ORACLES[source](store.source()))
    counts = {
        "interactions": len(catalogue.interactions),
        "items": len(catalogue.items),
        "items_with_image": catalogue.items["image"].notna().sum(),
    }
    log({name: float(count) for name, count in counts.items()}, 0)


if __name__ == "__main__":
    main(run)
