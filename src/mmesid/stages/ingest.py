"""Stage `ingest`: a source into canonical tables; filters nothing."""

from mmesid import host
from mmesid.artifacts.ingest import save_catalogue, save_oracle
from mmesid.artifacts.store import Store, home
from mmesid.artifacts.values import Catalogue
from mmesid.config import Config, Ingest
from mmesid.data import ORACLES, SOURCES, amazon
from mmesid.data.formats import How
from mmesid.pipeline.downloads import address, cache, pictures
from mmesid.stages.entry import main
from mmesid.tracking import StageRun


def run(config: Config, store: Store, log: StageRun) -> None:
    """Read `sources/<dataset>` and save it, with its law where it was drawn."""
    source = config.ingest.source
    if source == "amazon":
        catalogue = _from_address(config.ingest, store, log)
    else:
        catalogue = SOURCES[source](store.source(), _embeddings(config.ingest), How.of(config.ingest))
    save_catalogue(store, catalogue)
    if source in ORACLES:
        save_oracle(store, ORACLES[source](store.source()))
    counts = {
        "interactions": len(catalogue.interactions),
        "items": len(catalogue.items),
        "items_with_image": catalogue.items["image"].notna().sum(),
    }
    log({name: float(count) for name, count in counts.items()}, 0)


def _from_address(section: Ingest, store: Store, log: StageRun) -> Catalogue:
    """Fetch the files that `sources/<dataset>` records, read them, then fetch the pictures that they link to."""
    with host.scratch() as aside:
        brought = address.bring(store.source(), section, aside, home(store.root))
        how = How.of(section)._replace(interactions=brought.interactions, items=brought.items)
        catalogue = SOURCES[section.source](brought.folder, _embeddings(section), how)
    if not section.fetch_images:
        return amazon.with_fetched(catalogue, None)
    fetched = pictures.fetch_pictures(amazon.links(catalogue), cache.Cache(cache.home()), section.connections)
    pictures.check_answered(fetched, section.max_unanswered)
    log({"pictures_requested": float(fetched.requested), "pictures_unanswered": float(fetched.unanswered)}, 0)
    return amazon.with_fetched(catalogue, fetched.pictures)


def _embeddings(section: Ingest) -> dict[str, str]:
    return {str(modality): name for modality, name in section.embeddings.items()}


if __name__ == "__main__":
    main(run)
