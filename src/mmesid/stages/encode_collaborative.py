"""`encode_collaborative`: SASRec on the training part; its item table is the embedding, its weights the baseline."""

from mmesid.artifacts.curves import save_curves
from mmesid.artifacts.encode import save_embedding, save_sasrec
from mmesid.artifacts.ingest import load_raw_embeddings
from mmesid.artifacts.prepare import load_items, load_sequences
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Embedding
from mmesid.config import Config, sizes
from mmesid.encoders import precomputed, sasrec_training
from mmesid.stages.entry import device, main, one_thread
from mmesid.tracking import StageRun

STAGE = "encode_collaborative"


def run(config: Config, store: Store, log: StageRun) -> None:
    """Train SASRec; with encoder `precomputed` it remains the baseline, and the embedding is the source's."""
    section = config.encode_collaborative
    given = _precomputed(store) if section.encoder == "precomputed" else None
    sequences = load_sequences(store)
    targets = sum(max(0, len(items) - 1) for items in sequences.train())
    if sizes.is_little(sizes.step_targets(targets), sequences.n_items):
        one_thread()
    result = sasrec_training.train(sequences, section, config.protocol, config.seed, device(), log)
    save_embedding(store, "collaborative", given or result.embedding)
    save_sasrec(store, result.weights)
    save_curves(store, STAGE, result.curves)


def _precomputed(store: Store) -> Embedding:
    raw = load_raw_embeddings(store).get("collaborative")
    return precomputed.join("collaborative", load_items(store)["item_id"].to_numpy(object), raw)


if __name__ == "__main__":
    main(run)
