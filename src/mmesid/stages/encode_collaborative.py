"""`encode_collaborative`: SASRec on the training part. Its ranking is the baseline, its item table the embedding."""

from mmesid.artifacts.curves import save_history
from mmesid.artifacts.encode import save_embedding
from mmesid.artifacts.evaluate import save_ranks
from mmesid.artifacts.files import save_tensors
from mmesid.artifacts.ingest import load_catalogue
from mmesid.artifacts.prepare import load_prepared
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Embedding, Prepared
from mmesid.config import Config
from mmesid.encoders import precomputed, sasrec_training
from mmesid.stages.entry import device, main
from mmesid.tracking import StageRun

STAGE = "encode_collaborative"


def run(config: Config, store: Store, log: StageRun) -> None:
    """Train SASRec; with encoder `precomputed` it remains the baseline, and the embedding is the source's."""
    section = config.encode_collaborative
    prepared = load_prepared(store)
    given = _precomputed(store, prepared) if section.encoder == "precomputed" else None
    result = sasrec_training.train(prepared.sequences, section, config.seed, device(), log)
    save_embedding(store, "collaborative", given or result.embedding)
    save_tensors(store.folder(STAGE) / "weights.safetensors", result.weights)
    save_ranks(store, STAGE, result.ranks)
    save_history(store, STAGE, result.history)


def _precomputed(store: Store, prepared: Prepared) -> Embedding:
    raw = load_catalogue(store).embeddings.get("collaborative")
    return precomputed.join("collaborative", prepared.items["item_id"].to_numpy(object), raw)


if __name__ == "__main__":
    main(run)
