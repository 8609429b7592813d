"""`encode_content`: text and image embeddings with their presence masks."""

from mmesid import host
from mmesid.artifacts.encode import save_embedding, save_modalities
from mmesid.artifacts.ingest import load_raw_embeddings
from mmesid.artifacts.prepare import load_items, load_pictures
from mmesid.artifacts.shards import content_shards, save_models
from mmesid.artifacts.store import Store
from mmesid.config import Config
from mmesid.encoders import content
from mmesid.encoders.sharded import joined
from mmesid.pipeline import code
from mmesid.stages.entry import device, main_spread, one_thread
from mmesid.tracking import StageRun


def run(config: Config, store: Store, log: StageRun) -> None:
    """Encode what the items show; a modality that no item has is not written, `modalities.json` names the others.

    What a killed run had encoded is not encoded again. In several processes (`MMESID_PROCESSES`) each encodes its share
    where a pretrained model does, and the first one writes.
    """
    section = config.encode_content
    raw = load_raw_embeddings(store) if "precomputed" in (section.text, section.image) else {}
    if not {section.text, section.image} & set(content.SPREAD) and section.open_clip.model == content.EMBEDDED:
        one_thread()
    items, pictures = load_items(store), load_pictures(store)
    shards = content_shards(store, code.digest("encode_content"))
    with joined(device(), host.cores(), host.is_launched()) as (where, share):
        found = content.encode(items, pictures, raw, section, config.seed, where, log, shards, share)
    if share.process:
        return
    save_modalities(store, found.embeddings)
    save_models(store, found.models)
    for modality, embedding in found.embeddings.items():
        save_embedding(store, modality, embedding)
        log({f"{modality}_present": float(embedding.present[1:].mean())}, 0)
    shards.drop()


if __name__ == "__main__":
    main_spread(run)
