"""`encode_content`: text and image embeddings with their presence masks."""

from mmesid.artifacts.encode import save_embedding, save_modalities
from mmesid.artifacts.ingest import load_raw_embeddings
from mmesid.artifacts.prepare import load_items, load_pictures
from mmesid.artifacts.store import Store
from mmesid.artifacts.text_encoding import save_models, text_shards
from mmesid.config import Config
from mmesid.encoders import content
from mmesid.pipeline import code
from mmesid.stages.entry import device, main
from mmesid.tracking import StageRun


def run(config: Config, store: Store, log: StageRun) -> None:
    """Encode what the items show; a modality that no item has is not written, `modalities.json` names the others.

    Texts that a killed run had encoded are not encoded again.
    """
    section = config.encode_content
    raw = load_raw_embeddings(store) if "precomputed" in (section.text, section.image) else {}
    items, pictures = load_items(store), load_pictures(store)
    shards = text_shards(store, code.digest("encode_content"))
    found = content.encode(items, pictures, raw, section, config.seed, device(), log, shards)
    save_modalities(store, found.embeddings)
    save_models(store, found.models)
    for modality, embedding in found.embeddings.items():
        save_embedding(store, modality, embedding)
        log({f"{modality}_present": float(embedding.present[1:].mean())}, 0)
    shards.drop()


if __name__ == "__main__":
    main(run)
